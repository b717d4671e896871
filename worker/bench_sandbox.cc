// `quench bench sandbox`: how many programs a second the sandbox runs, isolation on. HumanEval's own solutions,
// each against its tests, in rounds; the median round counts.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <vector>

#include <nlohmann/json.hpp>

#include "schemas/error.h"
#include "worker/evaluate/grader.h"
#include "worker/verbs.h"

namespace quench::worker {
namespace {

using Clock = std::chrono::steady_clock;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace

int bench_sandbox(const ComputeOptions& compute, const BenchSandboxArguments& arguments) {
  const ProblemSet problems = shipped_problems(Benchmark::humaneval);
  std::vector<Submission> submissions;
  for (const Problem& problem : problems.problems())
    submissions.push_back({&problem, SubmissionForm::completion, problem.canonical_solution});

  GraderOptions options;
  options.sandboxes = arguments.sandboxes > 0 ? arguments.sandboxes : compute.threads;
  if (arguments.allow_landlock) options.weakest = Confinement::landlock;
  Grader grader(options);
  std::vector<double> seconds;
  std::vector<Execution> executions;
  // The first round warms caches of the machine and of the sandboxes, and does not count.
  for (std::uint32_t round = 0; round <= arguments.rounds; ++round) {
    const Clock::time_point started = Clock::now();
    executions = grader.grade(submissions);
    if (round > 0) seconds.push_back(std::chrono::duration<double>(Clock::now() - started).count());
    for (std::size_t i = 0; i < executions.size(); ++i) {
      if (!executions[i].passed())
        throw Error(ErrorCode::failed, "the solution of " + problems.problems()[i].task_id + " did not pass: " +
                                           executions[i].detail);
    }
  }
  const double programs_per_second = static_cast<double>(submissions.size()) / median(seconds);
  if (arguments.json) {
    std::cout << nlohmann::ordered_json{{"programs", submissions.size()},
                                        {"sandboxes", options.sandboxes},
                                        {"confinement", to_string(executions.front().confinement)},
                                        {"confined_by", grader.confined_by()},
                                        {"isolated", executions.front().isolated},
                                        {"round_s", seconds},
                                        {"programs_per_second", programs_per_second}}
                     .dump(2)
              << "\n";
  } else {
    std::printf("%.1f programs per second (%zu programs, median of %zu rounds, %d sandboxes, %s)\n",
                programs_per_second, submissions.size(), seconds.size(), options.sandboxes,
                grader.confined_by().c_str());
  }
  return 0;
}

}  // namespace quench::worker
