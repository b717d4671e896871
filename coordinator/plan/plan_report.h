// A plan in words and as JSON: what a job consists of, and what it is predicted to take.
#pragma once

#include <string>
#include <vector>

#include "coordinator/plan/cost_model.h"

namespace quench::coordinator {

// `prediction` null: sizes alone. `profile` is whose rates it was made of.
std::string plan_to_json(const JobSpec& job, const Plan& plan, const BlockCounts& largest, const Prediction* prediction,
                         const MachineProfile* profile);
std::string plan_to_text(const JobSpec& job, const Plan& plan, const BlockCounts& largest, const Prediction* prediction,
                         const MachineProfile* profile);

// One row for each prediction, of one job on more and more ranks.
std::string scaling_to_json(const JobSpec& job, const std::vector<Prediction>& rows, const MachineProfile& profile);
std::string scaling_to_text(const JobSpec& job, const std::vector<Prediction>& rows, const MachineProfile& profile);

}  // namespace quench::coordinator
