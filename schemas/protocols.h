// Named protocols: all choices of a published study at once, by the job file's key "protocol".
//
// "giagnorio-2025" is arXiv 2503.07103: MultiPL-E HumanEval and the McEval subset in Python and Java, 20
// samples at temperature 0.2 and top-p 0.95, 1024 tokens including the prompt (McEval: 1500), the prompt
// stripped, the data set's stop strings and then the cut after the first complete function, base models
// without a chat template. How weights are quantized stays the job's own choice, for that is what such a job
// asks about; the study's 1024 × 4096 tokens of calibration are the defaults. Seeds, time limits, sandbox and
// `tasks` (a part of the tasks, for a trial) stay free.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/job_spec.h"

namespace quench {

std::vector<std::string> protocol_names();

// `spec` as the protocol wants it: what the protocol fixes set, the rest as it was. Nothing when the protocol
// does not use this benchmark. `protocol` is one of protocol_names().
std::optional<EvaluateSpec> under_protocol(std::string_view protocol, EvaluateSpec spec);

// The evaluations of the whole study, in the order of its tables.
std::vector<EvaluateSpec> protocol_evaluations(std::string_view protocol);

// Its calibration; only `sequences` and `length` say something.
CalibrationSpec protocol_calibration(std::string_view protocol);

}  // namespace quench
