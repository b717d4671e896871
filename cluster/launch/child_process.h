// One child process, which outlives us only where that is asked for: mpirun, or `quench-worker VERB`. Loop thread. The child
// is signalled when the thread that started it ends, so start it from one that stays.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cluster/net/socket.h"

namespace quench::cluster {

enum class ChildStream {
  inherited,
  null_device,
  lines,     // output only: handed to on_line
  log_file,  // output only: appended to the command's log_file
};
enum class ChildGroup {
  own,     // the terminal's Ctrl-C reaches us only, and we decide
  shared,  // reads the terminal, gets its Ctrl-C
};

struct ChildCommand {
  std::filesystem::path program;  // a path, or a name to find in PATH
  std::vector<std::string> arguments;
  std::map<std::string, std::string> environment;              // added to ours
  std::function<bool(const std::string& name)> keep_variable;  // which of ours pass; null: all
  ChildStream in = ChildStream::null_device;
  ChildStream out = ChildStream::inherited;
  ChildStream err = ChildStream::inherited;
  ChildGroup group = ChildGroup::shared;
  int death_signal = 9;  // what it gets when we die; 0: nothing, it goes on
  std::filesystem::path log_file = {};
};

struct ChildExit {
  int code = 0;  // 128 + signal when killed
  std::optional<int> signal;
  std::string describe() const;  // "exited with code 3", "was killed by signal 9 (Killed)"
};

struct ChildHandlers {
  enum class Source { out, err };
  // Lines without their end; longer ones than 64 KiB come in pieces.
  std::function<void(Source, const std::string& line)> on_line;
  std::function<void(const ChildExit&)> on_exit;  // once, after all lines
};

class ChildProcess {
 public:
  // Throws Error(bad_input) when the program is not found, Error(unreachable) when it cannot be started.
  ChildProcess(Loop& loop, const ChildCommand& command, ChildHandlers handlers);
  ~ChildProcess();  // SIGKILL and reap, when still running; no callbacks
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  int pid() const;
  bool running() const;
  // Nothing happens when it has ended.
  void signal(int number);
  // SIGTERM, then SIGKILL after `grace`; on_exit follows.
  void stop(std::chrono::milliseconds grace);

 private:
  class State;
  // Two owners: this handle and the pending operations of the loop.
  std::shared_ptr<State> state_;
};

// The path of `name` in PATH, or `name` itself when it has a slash and is executable.
std::optional<std::filesystem::path> find_program(const std::string& name);

}  // namespace quench::cluster
