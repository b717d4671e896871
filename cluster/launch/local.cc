#include "cluster/launch/local.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/steady_timer.hpp>
#include <csignal>
#include <cstring>
#include <deque>
#include <fstream>
#include <string>
#include <utility>

#include "cluster/launch/child_process.h"
#include "cluster/launch/foreign_process.h"
#include "cluster/launch/gang_folder.h"
#include "cluster/launch/gang_log.h"
#include "cluster/launch/gang_processes.h"
#include "cluster/launch/gang_script.h"
#include "cluster/launch/mpirun_output.h"
#include "schemas/error.h"

namespace quench::cluster {
namespace {

constexpr std::size_t kLastLines = 40;
// How often the log of a gang that outlives us is looked at.
constexpr std::chrono::milliseconds kLookAtLog{250};

// A surrounding batch job or mpirun must not make ours believe that it is part of it.
bool keep_variable(const std::string& name, bool keep_slurm) {
  if (name.starts_with("SLURM_")) return keep_slurm;
  for (const char* const prefix :
       {"PMI_", "PMIX_", "OMPI_COMM_WORLD_", "OMPI_UNIVERSE_", "OMPI_MCA_orte_", "OMPI_MCA_ess_",
        "OMPI_MCA_pmix", "OMPI_APP_CTX_", "OMPI_FILE_LOCATION"})
    if (name.starts_with(prefix)) return false;
  return true;
}

// Ranks may copy from each other's memory directly (process_vm_readv) unless a container or Yama's ptrace
// scope forbids it; Open MPI then warns on every start, so it is told which to use.
bool siblings_share_memory() {
  std::ifstream scope("/proc/sys/kernel/yama/ptrace_scope");
  int value = 0;
  if (scope >> value && value != 0) return false;
  int here = 42;
  int there = 0;
  const iovec local{&there, sizeof there};
  const iovec remote{&here, sizeof here};
  return ::process_vm_readv(::getpid(), &local, 1, &remote, 1, 0) == sizeof there && there == here;
}

class LocalGang final : public Gang {
 public:
  LocalGang(Loop& loop, const std::string& mpirun, const MpirunOptions& options, const GangCommand& command,
            GangHandlers handlers)
      : handlers_(std::move(handlers)),
        folder_(options.folder.empty() ? std::make_unique<GangFolder>(command.outlives ? GangLife::outlives_it : GangLife::ends_with_coordinator)
                                       : std::make_unique<GangFolder>(options.folder)),
        stop_timer_(loop),
        log_timer_(loop) {
    const std::filesystem::path secret = folder_->write_secret(command.secret);
    if (!command.certificate.empty()) write_private_file(folder_->path() / kCertificateFile, command.certificate);
    ChildCommand child;
    child.program = mpirun;
    child.environment = command.environment;
    child.environment[kSecretFileVariable] = secret.string();
    child.environment[kGangVariable] = folder_->name();
    child.environment["OMP_NUM_THREADS"] = std::to_string(command.threads);
    child.arguments = arguments(options, command, child.environment);
    child.keep_variable = [keep_slurm = options.in_allocation](const std::string& name) {
      return keep_variable(name, keep_slurm);
    };
    child.out = command.outlives ? ChildStream::log_file : ChildStream::lines;
    child.err = child.out;
    child.group = ChildGroup::own;
    // mpirun then ends its ranks, within a second by SIGKILL, and removes its files.
    child.death_signal = command.outlives ? 0 : SIGTERM;
    if (command.outlives) {
      log_.emplace(folder_->path());
      child.log_file = log_->file();
    }
    child_ = std::make_unique<ChildProcess>(
        loop, child,
        ChildHandlers{.on_line = [this](ChildHandlers::Source, const std::string& line) { on_line(line); },
                      .on_exit = [this](const ChildExit& exit) { on_exit(exit); }});
    if (!command.outlives) return;
    if (const auto name = ProcessName::of(child_->pid()))
      write_private_file(folder_->path() / kMpirunFile, name->to_string() + "\n");
    follow_log();
  }

  // Takes over what another coordinator started. Throws Error(failed) when its mpirun has ended.
  LocalGang(Loop& loop, std::unique_ptr<GangFolder> folder, GangHandlers handlers)
      : handlers_(std::move(handlers)), folder_(std::move(folder)), stop_timer_(loop), log_timer_(loop) {
    std::ifstream file(folder_->path() / kMpirunFile);
    const auto name = ProcessName::parse(std::string(std::istreambuf_iterator<char>(file), {}));
    if (name) adopted_ = ForeignProcess::find(loop, *name, [this] { on_exit({}); });
    if (!adopted_) throw Error(ErrorCode::failed, "no mpirun is left of the gang in " + folder_->path().string());
    log_.emplace(folder_->path());
    follow_log();
  }

  ~LocalGang() override {
    child_.reset();
    kill_processes_marked(kGangVariable, folder_->name());
  }

  void stop(std::chrono::milliseconds grace) override {
    if (!running()) return;
    end_ = GangEnd::stopped;
    signal(SIGTERM);
    signal(SIGCONT);
    stop_timer_.expires_after(grace);
    // By value: the gang may be gone when an expired timer's handler runs.
    stop_timer_.async_wait([name = folder_->name()](const boost::system::error_code& error) {
      if (!error) kill_processes_marked(kGangVariable, name);
    });
  }
  int pid() const override { return adopted_ ? adopted_->pid() : child_->pid(); }
  std::filesystem::path folder() const override { return log_ ? folder_->path() : std::filesystem::path(); }

 private:
  std::vector<std::string> arguments(const MpirunOptions& options, const GangCommand& command,
                                     const std::map<std::string, std::string>& environment) const {
    const std::string folder = folder_->path().string();
    // Bound to one core each (the default for -n 1 and 2), a rank's threads would share it.
    std::vector<std::string> all = {"-n", std::to_string(command.ranks), "--bind-to", "none", "--tag-output"};
    if (::geteuid() == 0) all.emplace_back("--allow-run-as-root");
    // Workers live and die alone.
    if (command.kind == GangKind::workers) all.emplace_back("--enable-recovery");
    std::vector<std::pair<std::string, std::string>> settings = {{"pml", "ob1"},
                                                                 {"btl", "self,vader,tcp"},
                                                                 {"orte_base_help_aggregate", "0"}};
    if (options.hosts.empty() && !options.in_allocation) {
      all.insert(all.end(), {"--host", "localhost:" + std::to_string(command.ranks)});
      if (command.ranks * command.threads > static_cast<std::uint32_t>(::sysconf(_SC_NPROCESSORS_ONLN)))
        all.emplace_back("--oversubscribe");
      settings.insert(settings.end(), {{"plm", "isolated"},  // no ssh: one machine
                                       {"btl_tcp_if_include", "lo"},
                                       {"btl_vader_single_copy_mechanism", siblings_share_memory() ? "cma" : "none"},
                                       {"btl_vader_backing_directory", folder},
                                       {"orte_tmpdir_base", folder}});
    } else {
      // The shared folder may be no place for sockets and segments: those lie where each host keeps them.
      all.emplace_back("--oversubscribe");
      settings.emplace_back("btl_vader_single_copy_mechanism", "none");
      if (!options.hosts.empty()) {
        settings.emplace_back("plm", "rsh");
        std::string hosts;
        for (const std::string& host : options.hosts) {
          if (!hosts.empty()) hosts.push_back(',');
          hosts.append(host);
        }
        all.insert(all.end(), {"--host", hosts});
      }
    }
    for (const auto& [name, value] : settings) all.insert(all.end(), {"--mca", name, value});
    for (const auto& [name, value] : environment) all.insert(all.end(), {"-x", name});
    all.push_back(std::filesystem::absolute(command.program).string());
    all.insert(all.end(), command.arguments.begin(), command.arguments.end());
    return all;
  }

  bool running() const { return adopted_ ? adopted_->running() : child_->running(); }
  void signal(int number) {
    if (adopted_) return adopted_->signal(number);
    child_->signal(number);
  }

  void follow_log() {
    log_timer_.expires_after(kLookAtLog);
    log_timer_.async_wait([this, life = std::weak_ptr(life_)](const boost::system::error_code& cancelled) {
      if (cancelled || life.expired()) return;
      read_log();
      follow_log();
    });
  }
  void read_log() {
    log_->read([this](const std::string& line) { on_line(line); });
  }

  void on_line(const std::string& line) {
    const TaggedLine tagged = parse_tagged_line(line);
    if (!tagged.rank) report_.on_line(tagged.text);
    last_lines_.push_back(tagged.text);
    if (last_lines_.size() > kLastLines) last_lines_.pop_front();
    if (handlers_.on_line) handlers_.on_line(tagged.rank, tagged.text);
  }

  void on_exit(const ChildExit& exit) {
    stop_timer_.cancel();
    log_timer_.cancel();
    // Nobody is left as a rule; a rank whose mpirun was killed may still be on its way out.
    kill_processes_marked(kGangVariable, folder_->name());
    if (log_) read_log();
    GangExit end;
    end.code = exit.code;
    // How an adopted mpirun ended is known from its words alone.
    if (adopted_ && report_.rank()) end.code = report_.signal() ? 128 + *report_.signal() : report_.code().value_or(1);
    end.rank = report_.rank();
    end.signal = report_.rank() ? report_.signal() : exit.signal;
    end.last_lines.assign(last_lines_.begin(), last_lines_.end());
    end.end = end_;
    if (handlers_.on_exit) std::exchange(handlers_, {}).on_exit(end);
  }

  GangHandlers handlers_;
  std::unique_ptr<GangFolder> folder_;
  boost::asio::steady_timer stop_timer_;
  boost::asio::steady_timer log_timer_;
  std::shared_ptr<int> life_ = std::make_shared<int>(0);  // a timer that has expired calls its handler even when we are gone
  std::optional<GangLog> log_;                            // of a gang that outlives us
  // One of them.
  std::unique_ptr<ChildProcess> child_;
  std::unique_ptr<ForeignProcess> adopted_;
  ExitReport report_;
  std::deque<std::string> last_lines_;
  GangEnd end_ = GangEnd::own;
};

class LocalLauncher final : public Launcher {
 public:
  LocalLauncher(Loop& loop, MpirunOptions options) : loop_(loop), options_(std::move(options)) {
    QUENCH_CHECK(!other_hosts() || !options_.folder.empty());
  }

  std::unique_ptr<Gang> start(const GangCommand& command, GangHandlers handlers) override {
    QUENCH_CHECK(command.ranks > 0 && command.threads > 0, command.ranks, command.threads);
    const std::string name = options_.mpirun.empty() ? "mpirun" : options_.mpirun.string();
    const auto mpirun = find_program(name);
    if (!mpirun) {
      const char* const path = std::getenv("PATH");
      throw Error(ErrorCode::bad_input,
                  name + " was not found (PATH is " + (path == nullptr ? "not set" : path) +
                      "); install Open MPI 4.1 (Debian: apt-get install openmpi-bin) or load its module");
    }
    if (!find_program(std::filesystem::absolute(command.program).string()))
      throw Error(ErrorCode::bad_input, command.program.string() + " is not an executable program");
    return std::make_unique<LocalGang>(loop_, *mpirun, options_, command, std::move(handlers));
  }
  std::unique_ptr<Gang> adopt(std::unique_ptr<GangFolder> folder, GangHandlers handlers) override {
    try {
      return std::make_unique<LocalGang>(loop_, std::move(folder), std::move(handlers));
    } catch (const Error&) {
      return nullptr;
    }
  }
  bool other_hosts() const override { return options_.in_allocation || !options_.hosts.empty(); }

 private:
  Loop& loop_;
  MpirunOptions options_;
};

}  // namespace

std::string GangExit::describe() const {
  if (ok()) return "the gang ended well";
  if (!told.empty()) return told;
  const std::string who = rank ? "rank " + std::to_string(*rank) : "mpirun";
  if (signal)
    return who + " was killed by signal " + std::to_string(*signal) + " (" + ::strsignal(*signal) + ")";
  return who + " exited with code " + std::to_string(code);
}

std::unique_ptr<Launcher> make_local_launcher(Loop& loop, std::filesystem::path mpirun) {
  return make_mpirun_launcher(loop, {.mpirun = std::move(mpirun), .hosts = {}, .in_allocation = false, .folder = {}});
}

std::unique_ptr<Launcher> make_mpirun_launcher(Loop& loop, MpirunOptions options) {
  return std::make_unique<LocalLauncher>(loop, std::move(options));
}

}  // namespace quench::cluster
