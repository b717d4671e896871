// Starting and ending the processes that work for a coordinator. Its loop thread calls; callbacks come on it. One
// interface for one machine or some hosts (`local`: mpirun) and for Slurm (`slurm`, `allocation`).
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

#include "cluster/launch/gang_folder.h"

namespace quench::cluster {

// Environment variables a rank finds; the worker reads them.
inline constexpr char kSecretFileVariable[] = "QUENCH_GANG_SECRET_FILE";  // mode 0600, removed with the gang
inline constexpr char kGangVariable[] = "QUENCH_GANG";  // marks every process of this gang; not secret

enum class GangKind {
  ranks,    // of one MPI job: they live or die together
  workers,  // without MPI: each lives or dies alone, and finds its number as the launcher's tasks do (SLURM_PROCID, ...)
};

struct GangCommand {
  GangKind kind = GangKind::ranks;
  std::filesystem::path program;
  std::vector<std::string> arguments;
  std::map<std::string, std::string> environment;  // reaches every rank, added to ours
  std::string secret;                              // reaches the ranks by file only
  std::string certificate;                         // PEM: by which they know an encrypted coordinator; a file beside the secret
  std::uint32_t ranks = 1;                         // processes; an elastic launcher may start more or fewer
  std::uint32_t threads = 1;  // per rank; more than the machine has cores is allowed
  std::uint32_t gpus = 0;     // of each rank, for it alone: asked of Slurm; on this machine ranks share what there is
  // Goes on when its coordinator dies, so that the next one can adopt it.
  bool outlives = false;
};

// Why a gang ended.
enum class GangEnd {
  own,         // its processes ended, well or not
  stopped,     // by stop()
  preempted,   // the batch system took its nodes for others, or lost one: no fault of the job
  time_limit,  // the batch system's; the job goes on in another allocation
  cancelled,   // by a person, in the batch system
  refused,     // the batch system does not take such a job; last_lines has its words
};

// How a gang ended. `rank` and `signal` say which rank ended it, where mpirun named it.
struct GangExit {
  int code = 0;  // mpirun's exit code; 128 + signal when it was killed
  GangEnd end = GangEnd::own;
  std::string told;  // the launcher's own words, where it has better ones than a code
  std::optional<std::uint32_t> rank;
  std::optional<int> signal;
  std::vector<std::string> last_lines;  // of stderr, at most 40
  bool ok() const { return code == 0; }
  // "rank 1 was killed by signal 9 (Killed)".
  std::string describe() const;
};

struct GangHandlers {
  // A line a rank wrote on stdout or stderr, or mpirun's own (no rank).
  std::function<void(std::optional<std::uint32_t> rank, const std::string& line)> on_line;
  // It stands in the batch system's queue, for this reason. Called when the reason changes; never by launchers
  // that start at once.
  std::function<void(const std::string& reason)> on_waiting;
  // After on_waiting: its processes start now.
  std::function<void(const std::string& where)> on_running;
  // Once, when no process of the gang is left.
  std::function<void(const GangExit&)> on_exit;
};

// A running gang. Destroying it kills what is left of it, without on_exit.
class Gang {
 public:
  virtual ~Gang() = default;
  // SIGTERM, then SIGKILL for every process of the gang that is left after `grace`; on_exit follows.
  virtual void stop(std::chrono::milliseconds grace) = 0;
  virtual int pid() const = 0;  // of mpirun or srun; 0: it has no process of ours
  // Of a gang that outlives its coordinator: what the next one adopts it by. Empty: it does not.
  virtual std::filesystem::path folder() const { return {}; }
};

class Launcher {
 public:
  virtual ~Launcher() = default;
  // Throws Error(bad_input) when the machine lacks what is needed (naming what to install),
  // Error(unreachable) when the program cannot be started.
  virtual std::unique_ptr<Gang> start(const GangCommand& command, GangHandlers handlers) = 0;
  // Takes over a gang that an earlier coordinator's launcher of this kind started and left; `folder` is its folder. Null
  // when nothing of it is left.
  virtual std::unique_ptr<Gang> adopt(std::unique_ptr<GangFolder>, GangHandlers) { return nullptr; }
  // Its processes may be on other hosts: they must dial an address which those reach, and `workers` are started
  // here, not as our children.
  virtual bool other_hosts() const { return false; }
  // How many ranks come is known when the first one dials in.
  virtual bool elastic() const { return false; }
};

}  // namespace quench::cluster
