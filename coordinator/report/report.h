// Everything a report says, in whatever form: the artifacts of a job or of a list of refs, with their scores
// and comparisons. job_report.h fills it from the store.
#pragma once

#include <string>
#include <vector>

#include "coordinator/scoring/comparison.h"
#include "coordinator/scoring/energy.h"
#include "coordinator/scoring/scoreboard.h"

namespace quench::coordinator {

struct JobReport {
  std::string job_name;
  Digest job_id;
  std::string model;
  std::string protocol;  // whose tables are given as well (study.h); empty: none
  std::uint32_t ranks = 0;
  double seconds = 0;  // of quantizing
  CalibrationSpec calibration;
  std::uint64_t distinct_bytes = 0;  // of all artifacts' chunks, those that several share counted once
  CarbonFactor carbon = default_carbon_factor();
  std::vector<ArtifactScore> artifacts;
  std::vector<Comparison> comparisons;
};

}  // namespace quench::coordinator
