#include "cluster/launch/slurm.h"

#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <fstream>
#include <optional>
#include <string>
#include <utility>

#include "cluster/launch/child_process.h"
#include "cluster/launch/gang_folder.h"
#include "cluster/launch/gang_log.h"
#include "cluster/launch/gang_script.h"
#include "cluster/launch/slurm_words.h"
#include "cluster/launch/tool_run.h"
#include "schemas/error.h"

namespace quench::cluster {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kLastLines = 40;
// In the folder of a gang that outlives us: its job's number, ranks and threads.
constexpr char kSlurmJobFile[] = "job";
// One `scontrol show job` is a small request, but a site has many users: often while something is about to happen,
// seldom in a long queue or a long run.
constexpr milliseconds kLookSoon{500};
constexpr milliseconds kLookLate{10'000};
// A stop must not wait for a controller that is away, nor for ever for nodes that cannot end a process.
constexpr milliseconds kAnswerWithin{12'000};
constexpr milliseconds kEndWithin{60'000};
// What came between the signal and the limit, on clocks of different hosts.
constexpr std::uint32_t kLimitSlackSeconds = 10;

// A batch job and what it reads. Outlives the gang that it was submitted for when Slurm puts it back.
struct SlurmJob {
  explicit SlurmJob(std::unique_ptr<GangFolder> own) : folder(std::move(own)), log(folder->path()) {}
  ~SlurmJob() {
    // By name too: a job whose number we never learned has ours all the same.
    if (!id.empty()) run_tool_blocking({"scancel", id});
    else if (submitting) run_tool_blocking({"scancel", "--name=" + folder->name()});
  }
  std::unique_ptr<GangFolder> folder;
  GangLog log;
  std::string id;  // empty until sbatch has answered, and when the job is over
  bool submitting = false;
  GangKind kind = GangKind::ranks;
  std::uint32_t ranks = 0;
  std::uint32_t threads = 0;
  std::uint32_t gpus = 0;
};

class SlurmGang final : public Gang {
 public:
  using Keep = std::function<void(std::unique_ptr<SlurmJob>)>;

  SlurmGang(Loop& loop, const SlurmTemplate& script, const GangCommand& command, GangHandlers handlers,
            std::unique_ptr<SlurmJob> job, Keep keep)
      : SlurmGang(loop, script, std::move(handlers), std::move(job), std::move(keep)) {
    job_->kind = command.kind;
    job_->ranks = command.ranks;
    job_->threads = command.threads;
    job_->gpus = command.gpus;
    outlives_ = command.outlives;
    if (job_->id.empty()) write_private_file(job_->folder->path() / "script", fill());
    write_gang_command(job_->folder->path(), command, job_->folder->name());
  }

  // Takes over a batch job that an earlier coordinator submitted.
  SlurmGang(Loop& loop, const SlurmTemplate& script, GangHandlers handlers, std::unique_ptr<SlurmJob> job, Keep keep)
      : loop_(loop),
        script_(script),
        handlers_(std::move(handlers)),
        job_(std::move(job)),
        keep_(std::move(keep)),
        look_(loop),
        grace_(loop),
        give_up_(loop),
        outlives_(true) {
    look_again(milliseconds(0));
  }

  void stop(milliseconds grace) override {
    if (stopped_) return;
    stopped_ = true;
    interval_ = kLookSoon;
    if (!stopped_at_) {
      stopped_at_ = Clock::now();
      watch_the_end();
    }
    if (job_->id.empty() || !seen_running_) {
      look_again(milliseconds(0));  // decides there: the job may be submitted, waiting or begun by now
      return;
    }
    // To the steps, not to the batch script: a job that Slurm is about to put back into the queue stays there.
    if (!over_) tell_slurm({"scancel", "--signal=TERM", job_->id});
    later(grace_, grace, [this] { cancel_unless_requeued(); });
    look_again(kLookSoon);
  }
  int pid() const override { return 0; }
  fs::path folder() const override { return outlives_ ? job_->folder->path() : fs::path(); }

 private:
  std::string fill() const {
    SlurmFields fields{job_->ranks, job_->threads, job_->kind, gang_script_command(job_->folder->path()), job_->gpus};
    return script_.fill(fields);
  }

  void later(boost::asio::steady_timer& timer, milliseconds after, std::function<void()> then) {
    timer.expires_after(after);
    timer.async_wait([life = std::weak_ptr<int>(life_), then = std::move(then)](const boost::system::error_code& cancelled) {
      if (!cancelled && !life.expired()) then();
    });
  }
  void look_again(milliseconds after) {
    later(look_, after, [this] { look(); });
  }

  void look() {
    if (over_ || tool_) return;  // the tool's end looks again
    if (job_->id.empty()) return stopped_ ? finish({.end = GangEnd::stopped}) : submit();
    run({"scontrol", "--oneliner", "show", "job", job_->id}, [this](const ToolResult& result) { on_state(result); });
  }

  void run(const std::vector<std::string>& arguments, std::function<void(const ToolResult&)> then) {
    tool_ = std::make_unique<ToolRun>(loop_, arguments, [this, then = std::move(then)](const ToolResult& result) {
      const std::unique_ptr<ToolRun> ended = std::move(tool_);  // it is in its own callback
      if (!over_) then(result);
    });
  }

  // What is told and not waited for.
  void tell_slurm(const std::vector<std::string>& arguments) {
    tellings_.push_back(std::make_unique<ToolRun>(loop_, arguments, [](const ToolResult&) {}));
  }

  void submit() {
    const std::string folder = job_->folder->path().string();
    job_->submitting = true;
    run({"sbatch", "--parsable", "--job-name=" + job_->folder->name(), "--output=" + folder + "/log",
         "--open-mode=append", folder + "/script"},
        [this](const ToolResult& result) { on_submitted(result); });
  }

  void on_submitted(const ToolResult& result) {
    const auto id = result.code == 0 ? parse_submitted(result.out) : std::nullopt;
    if (id) {
      job_->id = *id;
      if (outlives_)
        write_private_file(job_->folder->path() / kSlurmJobFile,
                           *id + " " + std::to_string(job_->ranks) + " " + std::to_string(job_->threads) + "\n");
      waiting("submitted to Slurm as job " + *id);
      return look_again(kLookSoon);
    }
    if (controller_unreachable(result.err)) {
      waiting("Slurm's controller does not answer");
      return look_again(kLookLate);
    }
    job_->submitting = false;
    GangExit exit{.code = 2, .end = GangEnd::refused};
    exit.told = "sbatch refused " + script_.name() + ": " + (result.err.empty() ? result.out : result.err);
    while (exit.told.ends_with('\n')) exit.told.pop_back();
    finish(exit);
  }

  void on_state(const ToolResult& result) {
    std::erase_if(tellings_, [](const auto& telling) { return telling->ended(); });
    read_log();
    const auto state = result.code == 0 ? parse_job_state(result.out) : std::nullopt;
    if (state) answered_at_ = Clock::now();
    if (!state) {
      if (unknown_job(result.err)) {
        job_->id.clear();
        GangExit exit{.code = 1, .end = stopped_ ? GangEnd::stopped : GangEnd::own};
        exit.told = "Slurm knows nothing of its job any more";
        return finish(exit);
      }
      // The controller is away; jobs go on without it.
      if (!seen_running_) waiting("Slurm's controller does not answer");
      return look_again(stopped_ ? kLookSoon : kLookLate);
    }
    switch (state->phase) {
      case SlurmPhase::pending:
        return on_pending(*state);
      case SlurmPhase::running:
        return on_running(*state);
      case SlurmPhase::finished:
        return on_finished(*state);
    }
  }

  void on_pending(const SlurmJobState& state) {
    if (seen_running_) {
      GangExit exit{.code = 1, .end = GangEnd::preempted};
      exit.told = "Slurm put job " + job_->id + " back into its queue";
      return finish(exit);
    }
    if (stopped_) return finish({.code = 1, .end = GangEnd::stopped});
    waiting("Slurm job " + job_->id + " waits: " + (state.reason.empty() ? "no reason given" : state.reason));
    interval_ = std::min(interval_ + interval_ / 4, kLookLate);
    look_again(interval_);
  }

  void on_running(const SlurmJobState& state) {
    // The end of its last run, not ours: Slurm is still putting it back, or it was too quick to be seen.
    if (!seen_running_ && state.state == "COMPLETING") return look_again(kLookSoon);
    if (!seen_running_) {
      seen_running_ = true;
      restarts_ = state.restarts;
      interval_ = kLookSoon;
      if (handlers_.on_running) handlers_.on_running("Slurm job " + job_->id + " on " + state.nodes);
      if (stopped_) {
        stopped_ = false;
        stop(milliseconds(0));
        return;
      }
    } else if (state.restarts > restarts_) {  // it was put back and has begun again between two looks
      GangExit exit{.code = 1, .end = GangEnd::preempted};
      exit.told = "Slurm put job " + job_->id + " back into its queue";
      return finish(exit);
    }
    if (!stopped_) interval_ = std::min(interval_ + interval_ / 16, kLookLate / 4);
    look_again(interval_);
  }

  void on_finished(const SlurmJobState& state) {
    const std::string job = "Slurm job " + std::exchange(job_->id, {});
    GangExit exit;
    exit.code = state.exit_signal > 0 ? 128 + state.exit_signal : state.exit_code;
    exit.told = job + " ended as " + state.state;
    if (exit.code != 0) exit.told += " with exit code " + std::to_string(exit.code);
    const std::uint32_t margin = script_.signal_seconds() + kLimitSlackSeconds;
    const bool near_limit = state.limit_seconds && state.run_seconds + margin >= *state.limit_seconds &&
                            script_.signal_seconds() > 0;
    if (state.state == "COMPLETED") {
      exit.code = 0;
    } else if (exit.code == 0) {
      exit.code = 1;
    }
    if (state.state == "PREEMPTED" || state.state == "NODE_FAIL" || state.state == "BOOT_FAIL") {
      exit.end = GangEnd::preempted;
    } else if (state.state == "TIMEOUT" || state.state == "DEADLINE") {
      exit.end = GangEnd::time_limit;
    } else if (state.state == "CANCELLED" && !cancelled_) {
      exit.end = GangEnd::cancelled;
      exit.told = job + " was cancelled in Slurm";
    } else if (cancelled_ || (stopped_ && exit.code != 0 && !near_limit)) {
      exit.end = GangEnd::stopped;
    } else if (exit.code != 0 && near_limit) {
      exit.end = GangEnd::time_limit;
    }
    if (exit.end == GangEnd::time_limit)
      exit.told = job + " met its time limit of " + std::to_string(state.limit_seconds.value_or(0)) + " s";
    finish(exit);
  }

  // Lets go of the job: told to end, and with nothing left to run should it begin again.
  void watch_the_end() {
    later(give_up_, kLookSoon, [this] {
      const auto now = Clock::now();
      const bool answered = answered_at_ && now - *answered_at_ < kAnswerWithin;
      if (now - *stopped_at_ < (answered ? kEndWithin : kAnswerWithin)) return watch_the_end();
      GangExit exit{.code = 1, .end = GangEnd::stopped};
      exit.told = answered ? "Slurm does not end job " + job_->id : "Slurm's controller does not answer";
      if (!job_->id.empty() && answered) tell_slurm({"scancel", job_->id});
      job_->id.clear();
      finish(exit);
    });
  }

  // Asked anew: a cancel would take a job out of the queue that Slurm is putting back, which is COMPLETING meanwhile;
  // its processes get Slurm's own SIGKILL.
  void cancel_unless_requeued() {
    if (over_ || job_->id.empty()) return;
    if (tool_) return later(grace_, milliseconds(50), [this] { cancel_unless_requeued(); });
    run({"scontrol", "--oneliner", "show", "job", job_->id}, [this](const ToolResult& result) {
      const auto state = result.code == 0 ? parse_job_state(result.out) : std::nullopt;
      if (state && state->phase == SlurmPhase::running && state->restarts == restarts_) {
        if (state->state != "COMPLETING") {
          cancelled_ = true;
          tell_slurm({"scancel", job_->id});
        } else {
          later(grace_, kLookSoon, [this] { cancel_unless_requeued(); });
        }
      }
      on_state(result);
    });
  }

  void waiting(const std::string& reason) {
    if (reason == reason_) return;
    reason_ = reason;
    if (handlers_.on_waiting) handlers_.on_waiting(reason);
  }

  // Whole lines that the job has written since.
  void read_log() {
    job_->log.read([this](const std::string& line) {
      const LabelledLine labelled = parse_labelled_line(line);
      last_lines_.push_back(labelled.text);
      if (last_lines_.size() > kLastLines) last_lines_.pop_front();
      if (handlers_.on_line) handlers_.on_line(labelled.rank, labelled.text);
    });
  }

  void finish(GangExit exit) {
    if (over_) return;
    over_ = true;
    look_.cancel();
    grace_.cancel();
    give_up_.cancel();
    read_log();
    exit.last_lines.assign(last_lines_.begin(), last_lines_.end());
    // A job in the queue serves the next attempt, and finds nothing to run until there is one.
    remove_gang_command(job_->folder->path());
    if (!job_->id.empty()) keep_(std::move(job_));
    if (handlers_.on_exit) std::exchange(handlers_, {}).on_exit(exit);
  }

  Loop& loop_;
  // A timer that has expired calls its handler even when we are gone by then.
  std::shared_ptr<int> life_ = std::make_shared<int>(0);
  const SlurmTemplate& script_;
  GangHandlers handlers_;
  std::unique_ptr<SlurmJob> job_;
  Keep keep_;
  boost::asio::steady_timer look_;
  boost::asio::steady_timer grace_;
  boost::asio::steady_timer give_up_;
  std::optional<Clock::time_point> stopped_at_;
  std::optional<Clock::time_point> answered_at_;
  std::unique_ptr<ToolRun> tool_;
  std::vector<std::unique_ptr<ToolRun>> tellings_;
  std::deque<std::string> last_lines_;
  std::string reason_;
  milliseconds interval_ = kLookSoon;
  std::uint32_t restarts_ = 0;
  bool seen_running_ = false;
  bool stopped_ = false;
  bool cancelled_ = false;
  bool over_ = false;
  bool outlives_ = false;
};

class SlurmLauncher final : public Launcher {
 public:
  SlurmLauncher(Loop& loop, SlurmTemplate script, fs::path folder)
      : loop_(loop), script_(std::move(script)), folder_(fs::absolute(std::move(folder))) {
    for (const char* const tool : {"sbatch", "scontrol", "scancel"})
      if (!find_program(tool))
        throw Error(ErrorCode::bad_input, std::string(tool) +
                                              " was not found in PATH: run where jobs can be submitted, or install "
                                              "Slurm's commands (Debian: apt-get install slurm-client)");
  }

  std::unique_ptr<Gang> start(const GangCommand& command, GangHandlers handlers) override {
    QUENCH_CHECK(command.ranks > 0 && command.threads > 0, command.ranks, command.threads);
    if (!find_program(fs::absolute(command.program).string()))
      throw Error(ErrorCode::bad_input, command.program.string() + " is not an executable program");
    std::unique_ptr<SlurmJob> job = std::move(kept_);
    const bool fits = job && job->kind == command.kind && job->ranks == command.ranks && job->threads == command.threads;
    if (!fits) {
      job.reset();  // cancels it
      job = std::make_unique<SlurmJob>(std::make_unique<GangFolder>(folder_, [](const std::string& dead) {
        run_tool_blocking({"scancel", "--name=" + dead});
      }));
    }
    return std::make_unique<SlurmGang>(loop_, script_, command, std::move(handlers), std::move(job),
                                       [this](std::unique_ptr<SlurmJob> kept) { kept_ = std::move(kept); });
  }
  std::unique_ptr<Gang> adopt(std::unique_ptr<GangFolder> folder, GangHandlers handlers) override {
    auto job = std::make_unique<SlurmJob>(std::move(folder));
    std::ifstream file(job->folder->path() / kSlurmJobFile);
    if (!(file >> job->id >> job->ranks >> job->threads)) {
      job->id.clear();
      job->submitting = true;  // its number did not reach us: cancelled by name
      return nullptr;
    }
    return std::make_unique<SlurmGang>(loop_, script_, std::move(handlers), std::move(job),
                                       [this](std::unique_ptr<SlurmJob> kept) { kept_ = std::move(kept); });
  }
  bool other_hosts() const override { return true; }
  bool elastic() const override { return true; }

 private:
  Loop& loop_;
  SlurmTemplate script_;
  fs::path folder_;
  std::unique_ptr<SlurmJob> kept_;
};

}  // namespace

std::unique_ptr<Launcher> make_slurm_launcher(Loop& loop, SlurmTemplate script, fs::path folder) {
  return std::make_unique<SlurmLauncher>(loop, std::move(script), std::move(folder));
}

}  // namespace quench::cluster
