#include "coordinator/scoring/scoreboard.h"

#include <algorithm>

#include "schemas/error.h"

namespace quench::coordinator {

EvaluationScore score(const ScoreInput& input) {
  EvaluationScore result;
  result.spec = input.spec;
  result.digest = input.digest;
  const auto all = static_cast<std::uint32_t>(input.task_ids.size());
  result.tasks = input.spec.tasks == 0 ? all : std::min(input.spec.tasks, all);
  result.samples = input.spec.samples;
  std::vector<bool> present(std::size_t{result.tasks} * result.samples);
  result.outcomes.assign(present.size(), false);
  for (const Verdict& verdict : input.verdicts) {
    if (verdict.task >= result.tasks || verdict.sample >= result.samples) continue;  // of a larger run
    const std::size_t index = std::size_t{verdict.task} * result.samples + verdict.sample;
    present[index] = true;
    result.outcomes[index] = verdict.result == VerdictResult::passed;
  }
  if (const auto gap = std::find(present.begin(), present.end(), false); gap != present.end()) {
    const auto index = static_cast<std::size_t>(gap - present.begin());
    throw Error(ErrorCode::failed, "no verdict for " + input.task_ids[index / result.samples] + ", sample " +
                                       std::to_string(index % result.samples) + ": run the job again");
  }
  std::vector<TaskCount> tasks(result.tasks);
  for (std::size_t i = 0; i < result.outcomes.size(); ++i) {
    TaskCount& task = tasks[i / result.samples];
    ++task.samples;
    task.correct += result.outcomes[i] ? 1 : 0;
    result.passed += result.outcomes[i] ? 1 : 0;
  }
  result.pass_at_1 = pass_at_k(tasks, 1);
  result.interval = pass_at_k_interval(tasks, 1, input.spec.seed);
  return result;
}

ArtifactScore describe_artifact(const std::string& name, const Digest& digest, const Manifest& manifest,
                                double seconds) {
  ArtifactScore result;
  result.name = name;
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

std::vector<Comparison> compare_all(const std::vector<ArtifactScore>& artifacts) {
  std::vector<Comparison> all;
  if (artifacts.size() < 2) return all;
  auto baseline = std::find_if(artifacts.begin(), artifacts.end(),
                               [](const ArtifactScore& artifact) { return artifact.method == Method::none; });
  if (baseline == artifacts.end()) baseline = artifacts.begin();
  for (std::size_t evaluation = 0; evaluation < baseline->evaluations.size(); ++evaluation) {
    std::vector<Comparison> family;
    const EvaluationScore& reference = baseline->evaluations[evaluation];
    for (const ArtifactScore& other : artifacts) {
      if (&other == &*baseline || evaluation >= other.evaluations.size()) continue;
      const EvaluationScore& candidate = other.evaluations[evaluation];
      if (candidate.outcomes.size() != reference.outcomes.size()) continue;
      Comparison comparison{baseline->name, other.name, reference.spec.benchmark, {}, 1, 1, 1};
      for (std::size_t i = 0; i < reference.outcomes.size(); ++i) {
        comparison.pairs.only_a += reference.outcomes[i] && !candidate.outcomes[i] ? 1 : 0;
        comparison.pairs.only_b += !reference.outcomes[i] && candidate.outcomes[i] ? 1 : 0;
      }
      comparison.odds_ratio = odds_ratio(comparison.pairs);
      comparison.p = mcnemar_exact(comparison.pairs);
      family.push_back(comparison);
    }
    std::vector<double> p_values;
    for (const Comparison& comparison : family) p_values.push_back(comparison.p);
    const std::vector<double> adjusted = benjamini_hochberg(p_values);
    for (std::size_t i = 0; i < family.size(); ++i) family[i].p_adjusted = adjusted[i];
    all.insert(all.end(), family.begin(), family.end());
  }
  return all;
}

}  // namespace quench::coordinator
