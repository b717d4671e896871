// Two artifacts on one benchmark: their completions paired by task id and sample, tested, and the p-values of
// one family adjusted together. A family is every comparison with one baseline on one evaluation; its name
// stands in each of them. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "coordinator/scoring/paired_tests.h"
#include "coordinator/scoring/scoreboard.h"

namespace quench::coordinator {

// A p-value, alone and adjusted within the family.
struct TestedP {
  double p = 1;
  double benjamini_hochberg = 1;
  double holm = 1;
};

struct Comparison {
  std::string a, b;  // artifact names; a is the baseline
  std::string benchmark, language;
  std::string family;
  std::size_t evaluation_a = 0, evaluation_b = 0;  // which of the artifacts' evaluations were paired
  std::uint32_t tasks = 0;                         // paired
  std::uint64_t pairs_in_all = 0;
  Discordance pairs;
  double odds_ratio = 1;
  Interval odds_interval;
  TestedP pooled;  // exact McNemar
  RiskDifference risk;
  ClusteredTest clustered;
  TestedP by_task;
  std::optional<double> detectable_pooled, detectable_by_task;
  std::vector<std::string> warnings;  // why the pairs may not be alike
};

// Pairs two evaluations: the samples that both have of the tasks that both have. What is left out and
// settings that differ become warnings. Throws Error(bad_input) when the two have no pair in common.
Comparison compare_pair(const EvaluationScore& a, const EvaluationScore& b);

// Every artifact against the first one of method none (or the first at all), for each evaluation of that
// baseline: the other's evaluation with the same settings, else its next one of the same benchmark and
// language.
std::vector<Comparison> compare_all(const std::vector<ArtifactScore>& artifacts);

}  // namespace quench::coordinator
