// A daemon with its HTTP interface on a thread of this process, on a store of its own, listening on a Unix socket and on
// loopback TCP.
#pragma once

#include <unistd.h>

#include <boost/asio/post.hpp>
#include <csignal>
#include <filesystem>
#include <future>
#include <thread>
#include <utility>
#include <vector>

#include "coordinator/cli/artifacts.h"
#include "coordinator/http/api.h"
#include "coordinator/http/client.h"
#include "coordinator/http/paths.h"
#include "coordinator/http/server.h"

namespace quench::coordinator {

inline std::vector<Route> routes_of(Port port) {
  std::vector<Route> all = routes();
  std::erase_if(all, [port](const Route& route) { return route.port != port; });
  return all;
}

class RunningService {
 public:
  // `worker`: what is started as an evaluation worker.
  explicit RunningService(ServeConfig config = {}, HttpLimits limits = {},
                          std::filesystem::path worker = "/nonexistent/quench-worker")
      : worker_(std::move(worker)) {
    std::string name = (std::filesystem::temp_directory_path() / "quench-service-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
    folder_ = name;
    config.store = folder_ / "store";
    if (config.slots == 0) config.slots = 1;
    std::promise<std::uint16_t> ready;
    std::future<std::uint16_t> port = ready.get_future();
    thread_ = std::thread([this, config, limits, &ready] { serve(config, limits, ready); });
    port_ = port.get();
  }
  ~RunningService() {
    stop();
    thread_.join();
    std::filesystem::remove_all(folder_);
  }

  // It answers until nothing of a job is left.
  void stop() {
    if (!std::exchange(stopped_, true)) boost::asio::post(*loop_, [] { std::raise(SIGTERM); });
  }

  ServiceAddress local() const {
    ServiceAddress address;
    address.socket = folder_ / "http.sock";
    return address;
  }
  ServiceAddress tcp(const std::string& token = {}) const {
    ServiceAddress address = ServiceAddress::parse("http://127.0.0.1:" + std::to_string(port_));
    address.token = token;
    return address;
  }
  std::uint16_t port() const { return port_; }
  const std::filesystem::path& folder() const { return folder_; }
  // Runs `body` with the daemon on its thread.
  template <typename Body>
  auto on_loop(Body body) -> decltype(body(std::declval<Daemon&>())) {
    std::packaged_task<decltype(body(std::declval<Daemon&>()))()> task([&] { return body(*daemon_); });
    auto result = task.get_future();
    boost::asio::post(*loop_, [&] { task(); });
    return result.get();
  }

 private:
  void serve(const ServeConfig& config, const HttpLimits& limits, std::promise<std::uint16_t>& ready) {
    DaemonOptions options;
    options.config = config;
    options.worker = worker_;
    options.build = "test";
    Daemon daemon(options, answer_store_command);
    Api api(daemon);
    HttpServer server(daemon.loop(), limits, [&](HttpRequest request, std::function<void(HttpReply)> reply) {
      api.answer(std::move(request), std::move(reply));
    });
    api.watch(server);
    server.listen_unix(folder_ / "http.sock", cluster::UnixPeers::same_user);
    daemon_ = &daemon;
    loop_ = &daemon.loop();
    ready.set_value(server.listen_tcp("127.0.0.1", 0, nullptr).port);
    daemon.run();
    server.stop();
  }

  std::filesystem::path folder_;
  std::filesystem::path worker_;
  bool stopped_ = false;
  Daemon* daemon_ = nullptr;
  cluster::Loop* loop_ = nullptr;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

}  // namespace quench::coordinator
