#include "coordinator/scoring/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "schemas/error.h"

namespace quench::coordinator {
namespace {

// What must be equal for two completions to differ by their weights alone.
EvaluateSpec settings(const EvaluationScore& score) {
  EvaluateSpec spec = score.spec;
  spec.samples = 0;
  spec.tasks = 0;
  return spec;
}

bool of_one_benchmark(const EvaluationScore& a, const EvaluationScore& b) {
  return a.spec.benchmark == b.spec.benchmark && a.spec.language == b.spec.language;
}

std::string title(const EvaluateSpec& spec) {
  return spec.language.empty() ? spec.benchmark : spec.benchmark + " " + spec.language;
}

std::string counts(const std::map<std::string, std::uint64_t>& confinement) {
  std::string text;
  for (const auto& [words, count] : confinement)
    text += fmt::format("{}{} {}", text.empty() ? "" : " and ", count, words);
  return text;
}

// The evaluation of `artifact` to pair with `reference`: of equal settings, else the first of its benchmark
// that is not taken by another evaluation of the baseline.
std::optional<std::size_t> partner(const ArtifactScore& artifact, const EvaluationScore& reference,
                                   const std::set<std::size_t>& taken) {
  std::optional<std::size_t> found;
  for (std::size_t i = artifact.evaluations.size(); i-- > 0;) {
    if (taken.contains(i) || !of_one_benchmark(artifact.evaluations[i], reference)) continue;
    if (settings(artifact.evaluations[i]) == settings(reference)) return i;
    found = i;
  }
  return found;
}

void adjust(std::vector<Comparison>& family, TestedP Comparison::*test) {
  std::vector<double> p_values;
  for (const Comparison& comparison : family) p_values.push_back((comparison.*test).p);
  const std::vector<double> findings = benjamini_hochberg(p_values);
  const std::vector<double> any = holm(p_values);
  for (std::size_t i = 0; i < family.size(); ++i) {
    (family[i].*test).benjamini_hochberg = findings[i];
    (family[i].*test).holm = any[i];
  }
}

}  // namespace

Comparison compare_pair(const EvaluationScore& a, const EvaluationScore& b) {
  Comparison result;
  result.benchmark = a.spec.benchmark;
  result.language = a.spec.language;
  std::map<std::string, const TaskOutcomes*> of_b;
  for (const TaskOutcomes& task : b.outcomes) of_b[task.task_id] = &task;
  std::vector<TaskPair> tasks;
  for (const TaskOutcomes& task : a.outcomes) {
    const auto other = of_b.find(task.task_id);
    if (other == of_b.end()) continue;
    const std::size_t samples = std::min(task.passed.size(), other->second->passed.size());
    if (samples == 0) continue;
    TaskPair& pair = tasks.emplace_back();
    pair.samples = static_cast<std::uint32_t>(samples);
    for (std::size_t i = 0; i < samples; ++i) {
      const bool in_a = task.passed[i], in_b = other->second->passed[i];
      pair.correct_a += in_a ? 1 : 0;
      pair.correct_b += in_b ? 1 : 0;
      result.pairs.only_a += in_a && !in_b ? 1 : 0;
      result.pairs.only_b += !in_a && in_b ? 1 : 0;
    }
    result.pairs_in_all += samples;
  }
  if (tasks.empty())
    throw Error(ErrorCode::bad_input, "the two have no (task, sample) of " + title(a.spec) + " in common");
  result.tasks = static_cast<std::uint32_t>(tasks.size());
  if (result.pairs_in_all != a.completions || result.pairs_in_all != b.completions)
    result.warnings.push_back(
        fmt::format("paired {} completions of {} tasks; the first has {}, the second {}", result.pairs_in_all,
                    result.tasks, a.completions, b.completions));
  if (a.benchmark != b.benchmark)
    result.warnings.push_back("the two were graded with different problem files (" + a.benchmark.short_hex() +
                              ", " + b.benchmark.short_hex() + ")");
  if (!(settings(a) == settings(b)))
    result.warnings.push_back(
        "the two were generated with different settings (temperature, top-p, top-k, "
        "tokens, prompt or seed)");
  if (a.confinement != b.confinement)
    result.warnings.push_back("the programs were confined differently: " + counts(a.confinement) +
                              " against " + counts(b.confinement));

  result.odds_ratio = odds_ratio(result.pairs);
  result.odds_interval = odds_ratio_interval(result.pairs);
  result.pooled.p = mcnemar_exact(result.pairs);
  result.risk = risk_difference(tasks, a.spec.seed);
  result.clustered = permutation_by_task(tasks, a.spec.seed);
  result.by_task.p = result.clustered.p;
  result.detectable_pooled = detectable_by_mcnemar(result.pairs, result.pairs_in_all);
  result.detectable_by_task = detectable_by_task(tasks);
  return result;
}

std::vector<Comparison> compare_all(const std::vector<ArtifactScore>& artifacts) {
  std::vector<Comparison> all;
  if (artifacts.size() < 2) return all;
  auto baseline = std::find_if(artifacts.begin(), artifacts.end(),
                               [](const ArtifactScore& artifact) { return artifact.method == Method::none; });
  if (baseline == artifacts.end()) baseline = artifacts.begin();
  std::vector<std::set<std::size_t>> taken(artifacts.size());
  for (std::size_t evaluation = 0; evaluation < baseline->evaluations.size(); ++evaluation) {
    const EvaluationScore& reference = baseline->evaluations[evaluation];
    std::vector<Comparison> family;
    for (std::size_t i = 0; i < artifacts.size(); ++i) {
      if (&artifacts[i] == &*baseline) continue;
      const std::optional<std::size_t> other = partner(artifacts[i], reference, taken[i]);
      if (!other) continue;
      taken[i].insert(*other);
      Comparison& comparison = family.emplace_back(compare_pair(reference, artifacts[i].evaluations[*other]));
      comparison.a = baseline->name;
      comparison.b = artifacts[i].name;
      comparison.evaluation_a = evaluation;
      comparison.evaluation_b = *other;
    }
    std::string name = title(reference.spec) + " against " + baseline->name;
    const auto alike =
        std::count_if(baseline->evaluations.begin(), baseline->evaluations.end(),
                      [&](const EvaluationScore& one) { return of_one_benchmark(one, reference); });
    if (alike > 1) name += ", evaluation " + std::to_string(evaluation + 1);
    for (Comparison& comparison : family) comparison.family = name;
    adjust(family, &Comparison::pooled);
    adjust(family, &Comparison::by_task);
    all.insert(all.end(), family.begin(), family.end());
  }
  return all;
}

}  // namespace quench::coordinator
