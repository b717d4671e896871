#include "coordinator/cli/serve.h"

#include <chrono>
#include <cstdlib>
#include <iostream>

#include "coordinator/cli/artifacts.h"
#include "coordinator/cli/commands.h"
#include "coordinator/http/api.h"
#include "coordinator/http/server.h"
#include "schemas/build_id.h"
#include "schemas/service_json.h"
#include "schemas/small_file.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kConfigBytesMax = 1 << 20;
// For reports and verifications under way, once every job has ended.
constexpr std::chrono::milliseconds kReadersMax{5'000};

void make_absolute(std::string& path, const fs::path& folder) {
  if (!path.empty() && fs::path(path).is_relative()) path = (folder / path).lexically_normal().string();
}

cluster::Endpoint listen_endpoint(const std::string& text, const char* key = "listen") {
  return in_context(std::string("\"") + key + "\"", [&] { return cluster::Endpoint::parse_listen(text); });
}

// Where ranks that Slurm starts reach us.
void check_workers(const ServeConfig& config) {
  if (config.launcher == "slurm" && config.worker_listen.empty())
    throw Error(ErrorCode::bad_input, "\"workerListen\" is missing: ranks that Slurm starts must reach this host, name an ADDRESS:PORT "
                                      "(0.0.0.0:0 for any free port of all addresses, one for each job at work)");
  if (config.worker_listen.empty()) return;
  if (!listen_endpoint(config.worker_listen, "workerListen").is_loopback() && !config.plain_network && config.tls_certificate.empty())
    throw Error(ErrorCode::bad_input, "\"workerListen\": " + config.worker_listen +
                                          " is reachable from other hosts, and what ranks say must not travel unencrypted: give "
                                          "\"tlsCertificate\" and \"tlsKey\", or set \"plainNetwork\": true on a network that you trust");
}

void check(const ServeConfig& config) {
  if (config.store.empty())
    throw Error(ErrorCode::bad_input, "\"store\" is missing: name the directory of the artifact store");
  if (config.launcher != "local" && config.launcher != "slurm")
    throw Error(ErrorCode::bad_input, "\"launcher\": \"" + config.launcher + "\" is unknown, expected \"local\" or \"slurm\"");
  check_workers(config);
  if (config.gangs_max == 0 || config.connections_max == 0)
    throw Error(ErrorCode::bad_input, "\"gangsMax\" and \"connectionsMax\" must be at least 1");
  if (config.tls_certificate.empty() != config.tls_key.empty())
    throw Error(ErrorCode::bad_input, "\"tlsCertificate\" and \"tlsKey\" belong together");
  if (config.listen.empty()) return;
  const cluster::Endpoint endpoint = listen_endpoint(config.listen);
  if (config.tls_certificate.empty() && !endpoint.is_loopback())
    throw Error(ErrorCode::bad_input, "\"listen\": " + config.listen +
                                          " is reachable from other hosts, and tokens must not travel unencrypted: give "
                                          "\"tlsCertificate\" and \"tlsKey\", or listen on 127.0.0.1");
  if (config.allowed_paths.empty())
    throw Error(ErrorCode::bad_input,
                "\"allowedPaths\" is missing: with \"listen\", jobs come from people who cannot read this host's files "
                "by themselves, so name the directories where models and calibration text may lie");
}

}  // namespace

ServeConfig read_serve_config(const fs::path& file) {
  ServeConfig config = from_json<ServeConfig>(read_small_file(file, kConfigBytesMax), file.string());
  in_context(file.string(), [&] { check(config); });
  const fs::path folder = fs::absolute(file).parent_path();
  make_absolute(config.store, folder);
  make_absolute(config.socket, folder);
  make_absolute(config.tls_certificate, folder);
  make_absolute(config.tls_key, folder);
  make_absolute(config.slurm_template, folder);
  for (std::string& path : config.allowed_paths) make_absolute(path, folder);
  if (config.socket.empty()) config.socket = (fs::path(config.store) / "http.sock").string();
  return config;
}

int serve(const fs::path& config_file) {
  const ServeConfig config = read_serve_config(config_file);
  DaemonOptions options;
  options.config = config;
  options.worker = worker_program();
  options.launcher.kind = config.launcher == "slurm" ? cluster::LauncherKind::slurm : cluster::LauncherKind::local;
  options.launcher.slurm_template = config.slurm_template;
  // Where every host finds the store: secrets and scripts lie beside what they work on.
  options.launcher.folder = fs::path(config.store) / "gangs";
  cluster::check_launcher(options.launcher);
  if (!config.worker_listen.empty()) options.worker_listen = listen_endpoint(config.worker_listen, "workerListen");
  options.build = kBuildId;
  Daemon daemon(options, answer_store_command);
  Api api(daemon);
  HttpLimits limits;
  limits.connections_max = config.connections_max;
  HttpServer server(
      daemon.loop(), limits,
      [&api](HttpRequest request, std::function<void(HttpReply)> reply) { api.answer(std::move(request), std::move(reply)); },
      [&api](const HttpRequest& head) { return api.body_bytes_max(head); });
  api.watch(server);
  server.listen_unix(config.socket,
                     config.local_users.empty() ? cluster::UnixPeers::same_user : cluster::UnixPeers::every_user);
  std::cerr << "quench serves " << config.store << " at unix://" << config.socket;
  if (!config.listen.empty()) {
    const cluster::Endpoint at = listen_endpoint(config.listen);
    const cluster::TlsFiles tls{config.tls_certificate, config.tls_key};
    const bool encrypted = !config.tls_certificate.empty();
    const cluster::Endpoint& endpoint = server.listen_tcp(at.host, at.port, encrypted ? &tls : nullptr);
    std::cerr << " and " << (encrypted ? "https://" : "http://") << endpoint.to_string().substr(6);
  }
  std::cerr << std::endl;
  daemon.run();
  server.stop();
  if (!daemon.nothing_aside(kReadersMax)) {
    // A thread that reads gigabytes cannot be asked to end; all that was promised is on the disk.
    std::cerr << "ending while the store is still read\n";
    std::_Exit(0);
  }
  return 0;
}

}  // namespace quench::coordinator
