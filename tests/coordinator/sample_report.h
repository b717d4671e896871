// A report with hostile names, a baseline and two artifacts that lose one and two of its four tasks.
#pragma once

#include <string>
#include <vector>

#include "coordinator/report/report.h"

namespace quench::coordinator {

inline JobReport sample_report() {
  JobReport report;
  report.job_name = "<script>alert(1)</script>";
  report.model = "/models/a&b";
  report.ranks = 2;
  for (int i = 0; i < 3; ++i) {
    ArtifactScore& artifact = report.artifacts.emplace_back();
    artifact.name = i == 0 ? "none" : "gptq-" + std::to_string(i);
    artifact.method = i == 0 ? Method::none : Method::gptq;
    artifact.bits = i == 0 ? 16 : 4;
    artifact.bytes = 4'000'000u / static_cast<unsigned>(i + 1);
    if (i > 0) artifact.losses = {{"layers.0.q", 0.5, 0.01}};
    EvaluationScore& score = artifact.evaluations.emplace_back();
    score.tasks = 4;
    score.samples = 1;
    const std::vector<bool> passed = {true, true, i < 2, i < 1};
    for (std::size_t task = 0; task < passed.size(); ++task)
      score.outcomes.push_back({"T/" + std::to_string(task), {passed[task]}});
    score.completions = 4;
    score.passed = static_cast<std::uint64_t>(4 - i);
    score.pass_at_1 = static_cast<double>(4 - i) / 4;
    score.interval = {0.1, 1.0};
  }
  report.comparisons = compare_all(report.artifacts);
  return report;
}

}  // namespace quench::coordinator
