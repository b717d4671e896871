// `quench bench profile`: a gang of ranks measures what ranks do, this process what a coordinator does.
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <iostream>

#include "cluster/launch/local.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/store_rates.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// Rates measured beside other work are the machine's no more than its load then was.
constexpr double kOthersTold = 0.1;

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

// Processor time since the start, in seconds: of all cores together, and of this process with its ended children.
struct ProcessorTime {
  double machine = 0, own = 0;

  // Nothing where /proc/stat cannot be read.
  static std::optional<ProcessorTime> now() {
    std::ifstream in("/proc/stat");
    std::string word;
    double user = 0, nice = 0, system = 0;
    if (!(in >> word >> user >> nice >> system) || word != "cpu") return std::nullopt;
    ProcessorTime time;
    time.machine = (user + nice + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
    for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
      rusage usage{};
      ::getrusage(who, &usage);
      time.own += seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
    }
    return time;
  }
};

void run_gang(const MeasureArguments& arguments, const fs::path& scratch) {
  cluster::GangCommand command;
  command.program = worker_program();
  command.arguments = {"--threads", std::to_string(arguments.threads), "bench-profile", "--scratch", scratch, "--length",
                       std::to_string(arguments.length)};
  for (const std::string& shape : arguments.shapes) command.arguments.insert(command.arguments.end(), {"--shape", shape});
  if (!arguments.evaluation) command.arguments.emplace_back("--no-evaluation");
  if (!arguments.bf16) command.arguments.emplace_back("--no-bf16");
  command.ranks = arguments.ranks;
  command.threads = arguments.threads;

  cluster::Loop loop;
  const std::unique_ptr<cluster::Launcher> launcher = cluster::make_local_launcher(loop);
  std::optional<cluster::GangExit> ended;
  cluster::GangHandlers handlers;
  handlers.on_line = [&](std::optional<std::uint32_t>, const std::string& line) { std::cerr << line << "\n"; };
  handlers.on_exit = [&](const cluster::GangExit& exit) {
    ended = exit;
    loop.stop();
  };
  const std::unique_ptr<cluster::Gang> gang = launcher->start(command, std::move(handlers));
  loop.run();
  if (!ended->ok())
    throw Error(ended->code == exit_code(ErrorCode::bad_input) ? ErrorCode::bad_input : ErrorCode::failed,
                "the machine could not be measured: " + ended->describe());
}

}  // namespace

MachineProfile measure_machine(const MeasureArguments& arguments) {
  const BenchDirectory directory(arguments.store);
  const auto started = Clock::now();
  const std::optional<ProcessorTime> before = ProcessorTime::now();
  run_gang(arguments, directory.path());
  const std::optional<ProcessorTime> after = ProcessorTime::now();
  const double whole_s = std::chrono::duration<double>(Clock::now() - started).count();
  MachineProfile profile = read_profile(directory.path() / "profile.json");
  profile.start_s = std::max(1e-3, whole_s - profile.start_s.value_or(0));
  const StoreRates rates = measure_store(directory.path() / "store", 64);
  profile.store_bytes_per_s = rates.put_bytes_per_s;
  profile.commit_s = rates.commit_s;
  if (before && after) {
    const double others = after->machine - before->machine - (after->own - before->own);
    const double share = others / (whole_s * static_cast<double>(::sysconf(_SC_NPROCESSORS_ONLN)));
    if (share > kOthersTold)
      profile.origin += fmt::format("; others took {:.0f} % of the cores' time meanwhile, so times come out too long", 100 * share);
  }
  return profile;
}

int bench_profile(const BenchProfileArguments& arguments) {
  const std::string text = profile_to_json(measure_machine(arguments.measure)) + "\n";
  if (arguments.out.empty()) {
    std::cout << text;
    return 0;
  }
  std::ofstream out(arguments.out, std::ios::binary | std::ios::trunc);
  out << text;
  out.close();
  if (!out) throw Error(ErrorCode::bad_input, "cannot write --out " + arguments.out.string());
  std::cerr << "profile of this machine in " << arguments.out.string() << "; quench plan --machine " << arguments.out.string()
            << " uses it\n";
  return 0;
}

}  // namespace quench::coordinator
