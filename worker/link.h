// One connection to the coordinator, with the event loop and the thread that serve it: made anew when the coordinator is.
#pragma once

#include <memory>
#include <thread>

#include "cluster/net/connection.h"
#include "cluster/net/endpoint.h"
#include "cluster/net/handshake.h"

namespace quench::worker {

class Link {
 public:
  // Dials and proves itself; throws Error(unreachable, refused, timed_out).
  Link(const cluster::Endpoint& coordinator, const Hello& hello, const cluster::DialOptions& options);
  ~Link();  // closes; no handler is called any more
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // Starts the thread, which calls the handlers.
  void begin(cluster::ConnectionHandlers handlers);
  cluster::Connection& connection() { return *connection_; }

 private:
  cluster::Loop loop_;
  std::unique_ptr<cluster::Connection> connection_;
  std::thread thread_;
};

}  // namespace quench::worker
