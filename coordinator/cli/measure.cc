// `quench bench profile`: a gang of ranks measures what ranks do, this process what a coordinator does.
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

// The gang's lines: rank 0 prints "seconds S" and "profile {...}"; anything else is for people.
struct Printed {
  std::string profile;
  double seconds = 0;
  void take(const std::string& line) {
    if (line.starts_with("profile "))
      profile = line.substr(8);
    else if (line.starts_with("seconds "))
      seconds = std::stod(line.substr(8));
    else
      std::cerr << line << "\n";
  }
};

Printed run_gang(const MeasureArguments& arguments, const fs::path& scratch) {
  cluster::GangCommand command;
  command.program = worker_program();
  command.arguments = {"--threads", std::to_string(arguments.threads), "bench-profile", "--scratch", scratch, "--length",
                       std::to_string(arguments.length)};
  for (const std::string& shape : arguments.shapes) command.arguments.insert(command.arguments.end(), {"--shape", shape});
  if (!arguments.evaluation) command.arguments.emplace_back("--no-evaluation");
  command.ranks = arguments.ranks;
  command.threads = arguments.threads;

  cluster::Loop loop;
  const std::unique_ptr<cluster::Launcher> launcher = cluster::make_local_launcher(loop);
  Printed printed;
  std::optional<cluster::GangExit> ended;
  cluster::GangHandlers handlers;
  handlers.on_line = [&](std::optional<std::uint32_t>, const std::string& line) { printed.take(line); };
  handlers.on_exit = [&](const cluster::GangExit& exit) {
    ended = exit;
    loop.stop();
  };
  const std::unique_ptr<cluster::Gang> gang = launcher->start(command, std::move(handlers));
  loop.run();
  if (!ended->ok() || printed.profile.empty())
    throw Error(ended->code == exit_code(ErrorCode::bad_input) ? ErrorCode::bad_input : ErrorCode::failed,
                "the machine could not be measured: " + ended->describe());
  return printed;
}

}  // namespace

MachineProfile measure_machine(const MeasureArguments& arguments) {
  const BenchDirectory directory(arguments.store);
  const auto started = Clock::now();
  const Printed printed = run_gang(arguments, directory.path());
  const double whole_s = std::chrono::duration<double>(Clock::now() - started).count();
  MachineProfile profile = parse_profile(printed.profile, "quench-worker bench-profile");
  profile.start_s = std::max(1e-3, whole_s - printed.seconds);
  const StoreRates rates = measure_store(directory.path() / "store", 64);
  profile.store_bytes_per_s = rates.put_bytes_per_s;
  profile.commit_s = rates.commit_s;
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
