// The tables of arXiv 2503.07103 in the study's own form (protocol "giagnorio-2025"): what a report holds
// beside the published values. Published values come from data/giagnorio-2025.json, which names their source.
// A value of ours stands in a row of the study only when model, bits and language are the same; nothing is
// filled in: "-" is printed where either side has no value.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "coordinator/report/report.h"
#include "coordinator/report/table.h"

namespace quench::coordinator {

inline constexpr std::string_view kStudyProtocol = "giagnorio-2025";

// RQ1 precision, RQ2 calibration set, RQ3 model size, memory. Models of ours that the study does not have get
// rows of their own.
std::vector<Table> study_tables(const JobReport& report);

// "CodeLlama-7B" for .../CodeLlama-7b-hf, "DeepSeek-6.7B" for deepseek-coder-6.7b-base: the study's name of a
// base model, by the last part of its path. Empty for others, and for instruct and Python variants, which the
// study does not have.
std::string study_model(const std::string& path);
// "random", "mixed" or "code": the kind of the calibration set, or what the names of the calibration files all say, one and the same of these
// words.
std::string calibration_kind(const CalibrationSpec& spec);
// The shipped file of published values.
std::string_view published_study();

}  // namespace quench::coordinator
