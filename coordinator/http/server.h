// HTTP/1.1 on TCP, TLS and Unix sockets: reads bounded requests under deadlines, hands them to one handler, writes what
// it replies. Knows nothing of routes, users or jobs. All of it on the loop's thread; all of Beast's server side is in
// server.cc.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "cluster/net/listener.h"
#include "cluster/net/socket.h"
#include "cluster/net/tls.h"
#include "coordinator/http/exchange.h"

namespace quench::coordinator {

// What a client can make us hold is bounded by these.
struct HttpLimits {
  std::size_t header_bytes_max = 16u << 10;
  std::size_t body_bytes_max = 1u << 20;  // a job file's own limit
  std::size_t connections_max = 256;
  // From the first wait for a request to its last byte; a connection that is kept open and says nothing ends with it.
  std::chrono::milliseconds request_ms_max{30'000};
  std::chrono::milliseconds write_ms_max{30'000};  // a client that never reads
  std::chrono::milliseconds large_body_ms_max{600'000};  // of more than body_bytes_max
  std::chrono::milliseconds event_pause{15'000};   // without events a comment goes out so often, which finds the dead
};

class HttpServer {
 public:
  // Called with each request; calls the second argument once, from the loop, now or later. Errors it throws become
  // replies.
  using Handler = std::function<void(HttpRequest, std::function<void(HttpReply)>)>;

  // Asked with a request's head, its body still unread: how many bytes that may have.
  using BodyLimit = std::function<std::size_t(const HttpRequest& head)>;

  HttpServer(cluster::Loop& loop, const HttpLimits& limits, Handler handler, BodyLimit body_limit = {});
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // With `tls`, every connection must begin with its handshake. Throws Error(bad_input) for an address that cannot be
  // listened on and for files that hold no certificate and key.
  const cluster::Endpoint& listen_tcp(const std::string& address, std::uint16_t port, const cluster::TlsFiles* tls);
  void listen_unix(const std::filesystem::path& path, cluster::UnixPeers peers);
  // Takes no more connections; those that wait for events end.
  void stop();

  std::size_t connections() const;
  std::uint64_t requests() const;
  // Requests that were answered before a handler saw them: malformed, too large, too many connections.
  std::uint64_t rejected() const;

 private:
  class State;
  // Shared with the connections' coroutines, which the loop destroys last.
  std::shared_ptr<State> state_;
};

}  // namespace quench::coordinator
