// Commands that need the engine run `quench-worker VERB` as a child; a child that reads an artifact
// does so through the socket of whoever holds the store: another process, or this one meanwhile.
#include <unistd.h>

#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <cstdlib>
#include <memory>

#include "cluster/launch/child_process.h"
#include "coordinator/cli/artifacts.h"
#include "coordinator/cli/commands.h"
#include "coordinator/store_client.h"
#include "coordinator/store_server.h"
#include "schemas/build_id.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

}  // namespace

fs::path worker_program() {
  if (const char* given = std::getenv("QUENCH_WORKER"); given != nullptr) return given;
  std::error_code error;
  const fs::path beside = fs::read_symlink("/proc/self/exe", error).parent_path() / "quench-worker";
  if (error || ::access(beside.c_str(), X_OK) != 0)
    throw Error(ErrorCode::bad_input, "no program quench-worker beside quench (" + beside.string() +
                                          "): build the whole project, or name it in QUENCH_WORKER");
  return beside;
}

fs::path store_directory(const fs::path& given) {
  if (!given.empty()) return given;
  if (const char* named = std::getenv("QUENCH_STORE"); named != nullptr && *named != '\0') return named;
  return "quench-store";
}

int run_engine(const EngineArguments& arguments) {
  cluster::Loop loop;
  std::unique_ptr<ArtifactStore> store;
  std::unique_ptr<StoreServer> server;
  cluster::ChildCommand command;
  command.program = worker_program();
  command.arguments = {arguments.verb};
  if (arguments.ref) {
    std::optional<std::string> endpoint = owner_endpoint(arguments.store);
    if (!endpoint) {
      store = std::make_unique<ArtifactStore>(ArtifactStore::open(arguments.store, OpenMode::existing));
      store->resolve(*arguments.ref);  // a wrong name fails before anything starts
      server = std::make_unique<StoreServer>(loop, *store, kBuildId, answer_store_command);
      endpoint = server->endpoint();
    }
    command.arguments.insert(command.arguments.end(), {"--ref", *arguments.ref, "--coordinator", *endpoint});
  }
  command.arguments.insert(command.arguments.end(), arguments.arguments.begin(), arguments.arguments.end());
  command.in = cluster::ChildStream::inherited;
  command.out = cluster::ChildStream::inherited;
  command.err = cluster::ChildStream::inherited;
  command.death_signal = SIGKILL;
  int code = exit_code(ErrorCode::internal);
  cluster::ChildHandlers handlers;
  handlers.on_exit = [&](const cluster::ChildExit& exit) {
    code = exit.code;
    loop.stop();
  };
  cluster::ChildProcess child(loop, command, std::move(handlers));
  boost::asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait([&](const boost::system::error_code& cancelled, int) {
    if (!cancelled) child.stop(std::chrono::milliseconds(2'000));
  });
  loop.run();
  return code;
}

std::string engine_output(const std::vector<std::string>& words) {
  cluster::Loop loop;
  cluster::ChildCommand command;
  command.program = worker_program();
  command.arguments = words;
  command.out = cluster::ChildStream::lines;
  command.death_signal = SIGKILL;
  std::string output;
  int code = exit_code(ErrorCode::internal);
  cluster::ChildHandlers handlers;
  handlers.on_line = [&](cluster::ChildHandlers::Source, const std::string& line) { output += line + "\n"; };
  handlers.on_exit = [&](const cluster::ChildExit& exit) {
    code = exit.code;
    loop.stop();
  };
  cluster::ChildProcess child(loop, command, std::move(handlers));
  loop.run();
  if (code != 0)
    throw Error(code == exit_code(ErrorCode::bad_input) ? ErrorCode::bad_input : ErrorCode::failed,
                "quench-worker " + words.at(0) + " ended with exit code " + std::to_string(code) +
                    "; it said why above");
  return output;
}

}  // namespace quench::coordinator
