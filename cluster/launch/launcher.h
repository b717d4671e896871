// Starting and ending a gang. The coordinator's loop thread calls; callbacks come on it. One interface
// for one machine (mpirun) and, later, for Slurm.
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

namespace quench::cluster {

// Environment variables a rank finds; the worker reads them.
inline constexpr char kSecretFileVariable[] = "QUENCH_GANG_SECRET_FILE";  // mode 0600, removed with the gang
inline constexpr char kGangVariable[] = "QUENCH_GANG";  // marks every process of this gang; not secret

struct GangCommand {
  std::filesystem::path program;
  std::vector<std::string> arguments;
  std::map<std::string, std::string> environment;  // reaches every rank, added to ours
  std::string secret;                              // reaches the ranks by file only
  std::uint32_t ranks = 1;
  std::uint32_t threads = 1;  // per rank; more than the machine has cores is allowed
};

// How a gang ended. `rank` and `signal` say which rank ended it, where mpirun named it.
struct GangExit {
  int code = 0;  // mpirun's exit code; 128 + signal when it was killed
  std::optional<std::uint32_t> rank;
  std::optional<int> signal;
  std::vector<std::string> last_lines;  // of stderr, at most 40
  bool stopped = false;                 // by stop()
  bool ok() const { return code == 0; }
  // "rank 1 was killed by signal 9 (Killed)".
  std::string describe() const;
};

struct GangHandlers {
  // A line a rank wrote on stdout or stderr, or mpirun's own (no rank).
  std::function<void(std::optional<std::uint32_t> rank, const std::string& line)> on_line;
  // Once, when no process of the gang is left.
  std::function<void(const GangExit&)> on_exit;
};

// A running gang. Destroying it kills what is left of it, without on_exit.
class Gang {
 public:
  virtual ~Gang() = default;
  // SIGTERM, then SIGKILL for every process of the gang that is left after `grace`; on_exit follows.
  virtual void stop(std::chrono::milliseconds grace) = 0;
  virtual int pid() const = 0;  // of mpirun
};

class Launcher {
 public:
  virtual ~Launcher() = default;
  // Throws Error(bad_input) when the machine lacks what is needed (naming what to install),
  // Error(unreachable) when the program cannot be started.
  virtual std::unique_ptr<Gang> start(const GangCommand& command, GangHandlers handlers) = 0;
};

}  // namespace quench::cluster
