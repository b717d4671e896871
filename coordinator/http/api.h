// What each route does: checks who asks, reads the request, asks the daemon, writes the answer. Event-loop thread;
// what reads much of the store runs aside.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "coordinator/daemon.h"
#include "coordinator/http/paths.h"
#include "coordinator/http/server.h"

namespace quench::coordinator {

class Api {
 public:
  // `daemon` outlives it.
  explicit Api(Daemon& daemon);

  // Fits HttpServer::Handler.
  void answer(HttpRequest request, std::function<void(HttpReply)> reply);
  // Fits HttpServer::BodyLimit: chunks and publishes may be large, of those who may send them.
  std::size_t body_bytes_max(const HttpRequest& head) const;
  // For /metrics.
  void watch(const HttpServer& server) { server_ = &server; }

 private:
  struct Call {
    HttpRequest request;
    std::map<std::string, std::string> parameters;
    Caller caller;
    std::function<void(HttpReply)> reply;
  };
  using Handler = std::function<void(Call&)>;

  std::map<std::string, Handler> open_handlers();
  std::map<std::string, Handler> job_handlers();
  std::map<std::string, Handler> store_handlers();
  std::map<std::string, Handler> token_handlers();
  std::map<std::string, Handler> transfer_handlers();  // store_routes.cc
  // Runs `work` on a thread of the daemon's pool and replies with what it returns or throws.
  void aside(const Call& call, std::function<HttpReply()> work);
  void submit(const Call& call);
  void show_job(const Call& call);
  void list_jobs(const Call& call);
  HttpReply log_of(const Call& call) const;
  QueueCaller queue_caller(const Call& call) const;

  Daemon& daemon_;
  const HttpServer* server_ = nullptr;
  std::map<std::string, Handler> handlers_;  // by the route's name
};

}  // namespace quench::coordinator
