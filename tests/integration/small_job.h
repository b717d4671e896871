// A real job small enough to run many times: the 260 K Llama of tests/fixtures, quantized by every
// method, on a few short sequences.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/processes.h"

namespace quench::testing {

inline nlohmann::json small_job() {
  return {{"name", "small"},
          {"model", fixture("stories260k").string()},
          {"quantize",
           {{{"method", "int8"}},
            {{"method", "rtn"}, {"bits", 3}, {"groupSize", 32}},
            {{"method", "gptq"}, {"bits", 4}, {"groupSize", 32}},
            {{"method", "gptq"}, {"bits", 3}, {"groupSize", -1}, {"symmetric", false}, {"actOrder", true}},
            {{"method", "gptq"}, {"bits", 2}, {"groupSize", 16}, {"scaleRule", "search"}}}},
          {"calibration",
           {{"files", {fixture("calibration_python.txt").string()}},
            {"sequences", 7},
            {"length", 40},
            {"seed", 3}}}};
}

inline std::vector<std::string> run_arguments(const std::filesystem::path& job,
                                              const std::filesystem::path& store, int ranks) {
  return {quench_program(), "run", job, "--store", store, "--ranks", std::to_string(ranks), "--json"};
}

// Artifact digests by name, from what `quench run --json` printed.
inline std::vector<std::string> digests_of(const Finished& finished) {
  std::vector<std::string> digests;
  const nlohmann::json report = nlohmann::json::parse(finished.out, nullptr, false);
  EXPECT_TRUE(report.is_object()) << "stdout: " << finished.out << "\nstderr: " << finished.err;
  if (report.is_object())
    for (const auto& artifact : report["artifacts"])
      digests.push_back(artifact["name"].get<std::string>() + " " + artifact["digest"].get<std::string>());
  return digests;
}

}  // namespace quench::testing
