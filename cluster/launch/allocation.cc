#include "cluster/launch/allocation.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <deque>
#include <string>
#include <utility>

#include "cluster/launch/child_process.h"
#include "cluster/launch/gang_folder.h"
#include "cluster/launch/gang_processes.h"
#include "cluster/launch/gang_script.h"
#include "cluster/launch/local.h"
#include "schemas/error.h"

namespace quench::cluster {
namespace {

namespace fs = std::filesystem;
constexpr std::size_t kLastLines = 40;
constexpr std::chrono::milliseconds kSrunFarewell{10'000};

// One job step.
class StepGang final : public Gang {
 public:
  StepGang(Loop& loop, const SlurmAllocation& allocation, const fs::path& folder, const GangCommand& command,
           GangHandlers handlers)
      : handlers_(std::move(handlers)), folder_(folder) {
    ChildCommand child;
    child.program = "srun";
    child.environment = command.environment;
    child.environment[kSecretFileVariable] = folder_.write_secret(command.secret).string();
    if (!command.certificate.empty()) write_private_file(folder_.path() / kCertificateFile, command.certificate);
    child.environment[kGangVariable] = folder_.name();
    child.environment["OMP_NUM_THREADS"] = std::to_string(command.threads);
    child.arguments = arguments(allocation, command);
    child.out = ChildStream::lines;
    child.err = ChildStream::lines;
    child.group = ChildGroup::own;
    child.death_signal = SIGTERM;  // srun then ends its tasks
    child_ = std::make_unique<ChildProcess>(
        loop, child,
        ChildHandlers{.on_line = [this](ChildHandlers::Source, const std::string& line) { on_line(line); },
                      .on_exit = [this](const ChildExit& exit) { on_exit(exit); }});
  }
  // Tasks on other nodes notice by themselves that their coordinator is gone.
  ~StepGang() override {
    child_.reset();
    kill_processes_marked(kGangVariable, folder_.name());
  }

  void stop(std::chrono::milliseconds grace) override {
    if (!child_->running()) return;
    end_ = GangEnd::stopped;
    // srun ends its tasks and waits for Slurm to say so; killed, it would leave them running.
    child_->stop(grace + kSrunFarewell);
  }
  int pid() const override { return child_->pid(); }

 private:
  static std::vector<std::string> arguments(const SlurmAllocation& allocation, const GangCommand& command) {
    std::vector<std::string> all = {"--ntasks=" + std::to_string(command.ranks),
                                    "--cpus-per-task=" + std::to_string(command.threads),
                                    "--cpu-bind=none",
                                    // Beside the step that we may be part of ourselves.
                                    "--overlap",
                                    "--label",
                                    "--export=ALL",
                                    command.kind == GangKind::ranks ? "--mpi=pmix" : "--mpi=none",
                                    command.kind == GangKind::ranks ? "--kill-on-bad-exit=1" : "--kill-on-bad-exit=0"};
    if (command.kind == GangKind::workers) all.emplace_back("--wait=0");
    // Where there are fewer, ranks of a node share them by their SLURM_LOCALID.
    if (command.gpus > 0 && std::uint64_t{command.ranks} * command.gpus <= std::uint64_t{allocation.nodes} * allocation.gpus_of_node)
      all.push_back("--gpus-per-task=" + std::to_string(command.gpus));
    const bool fits = std::uint64_t{command.ranks} * command.threads <=
                      std::uint64_t{allocation.ranks} * allocation.threads;
    if (!fits) all.insert(all.end(), {"--overcommit", "--nodes=" + std::to_string(std::min(allocation.nodes, command.ranks))});
    all.push_back(fs::absolute(command.program).string());
    all.insert(all.end(), command.arguments.begin(), command.arguments.end());
    return all;
  }

  void on_line(const std::string& line) {
    const LabelledLine labelled = parse_labelled_line(line);
    last_lines_.push_back(labelled.text);
    if (last_lines_.size() > kLastLines) last_lines_.pop_front();
    if (handlers_.on_line) handlers_.on_line(labelled.rank, labelled.text);
  }

  void on_exit(const ChildExit& exit) {
    GangExit end;
    end.code = exit.code;
    end.end = end_;
    if (exit.code != 0) end.told = "srun " + exit.describe();
    end.last_lines.assign(last_lines_.begin(), last_lines_.end());
    if (handlers_.on_exit) std::exchange(handlers_, {}).on_exit(end);
  }

  GangHandlers handlers_;
  GangFolder folder_;
  std::unique_ptr<ChildProcess> child_;
  std::deque<std::string> last_lines_;
  GangEnd end_ = GangEnd::own;
};

bool srun_has_pmix() {
  FILE* const list = ::popen("srun --mpi=list 2>&1", "re");
  if (list == nullptr) return false;
  std::string text;
  std::array<char, 512> buffer{};
  while (const std::size_t got = std::fread(buffer.data(), 1, buffer.size(), list)) text.append(buffer.data(), got);
  ::pclose(list);
  return text.find("pmix") != std::string::npos;
}

class AllocationLauncher final : public Launcher {
 public:
  AllocationLauncher(Loop& loop, SlurmAllocation allocation, fs::path folder)
      : loop_(loop), allocation_(std::move(allocation)), folder_(std::move(folder)) {}

  std::unique_ptr<Gang> start(const GangCommand& command, GangHandlers handlers) override {
    QUENCH_CHECK(command.ranks > 0 && command.threads > 0, command.ranks, command.threads);
    if (!find_program(fs::absolute(command.program).string()))
      throw Error(ErrorCode::bad_input, command.program.string() + " is not an executable program");
    return std::make_unique<StepGang>(loop_, allocation_, folder_, command, std::move(handlers));
  }
  bool other_hosts() const override { return true; }

 private:
  Loop& loop_;
  SlurmAllocation allocation_;
  fs::path folder_;
};

}  // namespace

std::unique_ptr<Launcher> make_allocation_launcher(Loop& loop, SlurmAllocation allocation, fs::path folder) {
  if (find_program("srun") && srun_has_pmix())
    return std::make_unique<AllocationLauncher>(loop, std::move(allocation), std::move(folder));
  return make_mpirun_launcher(loop, {.mpirun = {}, .hosts = {}, .in_allocation = true, .folder = std::move(folder)});
}

}  // namespace quench::cluster
