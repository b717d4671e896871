#include "coordinator/scoring/scoreboard.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "schemas/error.h"

namespace quench::coordinator {

void score_outcomes(EvaluationScore& score, std::span<const std::uint32_t> ks) {
  std::vector<TaskCount> tasks;
  score.completions = 0;
  score.passed = 0;
  for (const TaskOutcomes& task : score.outcomes) {
    TaskCount& count = tasks.emplace_back();
    count.samples = static_cast<std::uint32_t>(task.passed.size());
    count.correct = static_cast<std::uint32_t>(std::count(task.passed.begin(), task.passed.end(), true));
    score.completions += count.samples;
    score.passed += count.correct;
  }
  const auto least = std::min_element(tasks.begin(), tasks.end(), [](const TaskCount& a, const TaskCount& b) {
    return a.samples < b.samples;
  });
  score.tasks = static_cast<std::uint32_t>(tasks.size());
  score.samples = least == tasks.end() ? 0 : least->samples;
  score.pass_at_1 = pass_at_k(tasks, 1);
  score.interval = pass_at_k_interval(tasks, 1, score.spec.seed);
  score.pass_at.clear();
  for (const std::uint32_t k : std::set<std::uint32_t>(ks.begin(), ks.end())) {
    if (k == 1) continue;
    if (k < 1 || k > score.samples)
      throw Error(ErrorCode::bad_input,
                  "pass@" + std::to_string(k) + " of " + score.spec.benchmark + " needs 1 to " +
                      std::to_string(score.samples) + " as k, for so many samples has " +
                      score.outcomes[static_cast<std::size_t>(least - tasks.begin())].task_id +
                      ": ask for a smaller k or run the job with more samples");
    score.pass_at.push_back({k, pass_at_k(tasks, k), pass_at_k_interval(tasks, k, score.spec.seed)});
  }
}

EvaluationScore score(const ScoreInput& input, std::span<const std::uint32_t> ks) {
  EvaluationScore result;
  result.spec = input.spec;
  result.digest = input.digest;
  result.benchmark = input.benchmark;
  const auto all = static_cast<std::uint32_t>(input.task_ids.size());
  const std::uint32_t tasks = input.spec.tasks == 0 ? all : std::min(input.spec.tasks, all);
  const std::uint32_t samples = input.spec.samples;
  for (const Verdict& verdict : input.verdicts)
    if (verdict.task < tasks && verdict.sample < samples)  // others are of a larger run
      result.verdicts.push_back(verdict);
  const auto place = [](const Verdict& verdict) { return std::tuple(verdict.task, verdict.sample); };
  std::sort(result.verdicts.begin(), result.verdicts.end(),
            [&](const Verdict& a, const Verdict& b) { return place(a) < place(b); });
  auto verdict = result.verdicts.begin();
  for (std::uint32_t task = 0; task < tasks; ++task) {
    TaskOutcomes& outcomes = result.outcomes.emplace_back();
    outcomes.task_id = input.task_ids[task];
    for (std::uint32_t sample = 0; sample < samples; ++sample) {
      if (verdict == result.verdicts.end() || place(*verdict) != std::tuple(task, sample))
        throw Error(ErrorCode::failed, "no verdict for " + outcomes.task_id + ", sample " +
                                           std::to_string(sample) + ": run the job again");
      outcomes.passed.push_back(verdict->result == VerdictResult::passed);
      ++result.confinement[std::string(to_string(verdict->confinement)) +
                           (verdict->isolated ? ", isolated" : ", not isolated")];
      ++verdict;
    }
  }
  score_outcomes(result, ks);
  return result;
}

ArtifactScore describe_artifact(const std::string& name, const Digest& digest, const Manifest& manifest,
                                double seconds) {
  ArtifactScore result;
  result.name = name;
  result.recipe = manifest.recipe;
  result.calibration = manifest.calibration;
  result.method = manifest.recipe.method;
  result.digest = digest;
  result.bytes = artifact_bytes(manifest);
  result.bits_per_weight = bits_per_weight(manifest);
  result.bits = nominal_bits(manifest);
  result.seconds = seconds;
  result.losses = manifest.losses;
  for (const LinearLoss& loss : manifest.losses) result.mean_relative_loss += loss.relative_loss;
  if (!manifest.losses.empty()) result.mean_relative_loss /= static_cast<double>(manifest.losses.size());
  return result;
}

}  // namespace quench::coordinator
