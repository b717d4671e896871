// Serves a store to those who may not open it: readers on STORE/quench.sock (other commands, children
// that need weights) and the ranks of a gang. Event-loop thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "cluster/net/handshake.h"
#include "cluster/net/listener.h"
#include "coordinator/store/artifact_store.h"
#include "schemas/messages.h"

namespace quench::coordinator {

// Runs an `artifacts` command against the open store (cli/artifacts.h).
using StoreCommandRunner = std::function<StoreReply(ArtifactStore&, const StoreCommand&)>;

class StoreServer {
 public:
  // Something to be done on another thread; what it returns is done on the loop's.
  using Work = std::function<std::function<void()>()>;
  using Aside = std::function<void(Work)>;

  // Listens on store.socket_path(). `build` is told to readers. Commands that only read are run by `aside`, for they
  // may take minutes that a loop with gangs on it has not; without it on the loop. Throws Error(bad_input) when the
  // socket cannot be made.
  StoreServer(cluster::Loop& loop, ArtifactStore& store, std::string build, StoreCommandRunner run_command,
              Aside aside = {});
  StoreServer(const StoreServer&) = delete;
  StoreServer& operator=(const StoreServer&) = delete;

  // Answers a request of any peer: manifest, chunk, command. False when the message is none of these.
  bool answer(cluster::Connection& peer, const Message& message);
  std::string endpoint() const { return listener_.endpoint().to_string(); }

 private:
  void admit(std::unique_ptr<cluster::Connection> connection);
  // False when the command must run on the loop.
  bool run_aside(std::uint64_t reader, const Message& message);

  ArtifactStore& store_;
  StoreCommandRunner run_command_;
  Aside aside_;
  cluster::Roster no_gang_;  // on this socket nobody joins a gang
  std::map<std::uint64_t, std::unique_ptr<cluster::Connection>> readers_;
  std::uint64_t next_reader_ = 1;
  cluster::Reception reception_;
  cluster::Listener listener_;
};

}  // namespace quench::coordinator
