// What Slurm says, read from the text of its commands and from the environment of its jobs. Pure functions.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace quench::cluster {

enum class SlurmPhase {
  pending,   // in the queue, or back in it
  running,   // has nodes, also while it gets or returns them
  finished,  // see SlurmJobState::state
};

// Of `scontrol --oneliner show job ID`.
struct SlurmJobState {
  SlurmPhase phase = SlurmPhase::pending;
  std::string state;  // "PENDING", "TIMEOUT", ...
  std::string reason;
  std::string nodes;
  std::uint32_t restarts = 0;
  std::uint32_t run_seconds = 0;
  std::optional<std::uint32_t> limit_seconds;
  int exit_code = 0;
  int exit_signal = 0;
};

// Empty when the text describes no job.
std::optional<SlurmJobState> parse_job_state(std::string_view text);
// "1-02:03:04" or "02:03:04" in seconds; empty for UNLIMITED and the like.
std::optional<std::uint32_t> parse_slurm_time(std::string_view text);
// The job id that `sbatch --parsable` prints: "123" or "123;cluster".
std::optional<std::string> parse_submitted(std::string_view text);
// What sbatch says when the controller cannot be reached now, in contrast to a job that it does not take.
bool controller_unreachable(std::string_view sbatch_words);
// slurmctld has forgotten the job, or never knew it.
bool unknown_job(std::string_view scontrol_words);
// "3: text" of srun --label.
struct LabelledLine {
  std::optional<std::uint32_t> rank;
  std::string text;
};
LabelledLine parse_labelled_line(std::string_view line);

// The allocation that this process runs in.
struct SlurmAllocation {
  std::string job_id;
  std::string node_list;
  std::uint32_t nodes = 1;
  std::uint32_t ranks = 1;    // tasks that were asked for; without those, one for each GPU, else one for each node
  std::uint32_t threads = 1;  // cores of each
  std::uint32_t gpus_of_node = 0;
};
using Variable = std::function<const char*(const char* name)>;  // getenv
// Empty outside of Slurm. Throws Error(bad_input) naming a variable that is no number.
std::optional<SlurmAllocation> slurm_allocation(const Variable& variable);
std::optional<SlurmAllocation> slurm_allocation();  // from our environment

}  // namespace quench::cluster
