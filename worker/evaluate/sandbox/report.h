// What the host asks of a zygote and what the zygote reports of a process; a report is checked like any other
// input. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

#include "schemas/artifact.h"
#include "worker/evaluate/sandbox/limits.h"

namespace quench::worker {

// What one zygote reports of one process.
struct Report {
  std::string reason;  // "", timed_out, output_limit, out_of_memory, stopped
  int exit_code = -1;
  int signal = 0;
  bool violation = false;
  bool dirty = false;
  std::string status;
  std::string stderr_tail;
  std::uint64_t cpu_ms = 0;
  std::uint64_t wall_ms = 0;
  std::uint64_t waited_ms = 0;
};

// The fields that every request to run something has.
nlohmann::json run_request(std::uint64_t id, const char* role, const SandboxLimits& limits, std::uint32_t wall_ms);
// Throws Error(failed) when it is no report on request `id`.
Report parse_report(const nlohmann::json& reply, std::uint64_t id);

// 128 random bits in hexadecimal.
std::string fresh_nonce();

bool ran_out_of_cpu(const Report& report, const SandboxLimits& limits);
// It came to its end, past the limit. The verdict is a time-out, which another run alone may mend.
bool is_borderline(const Report& report, const SandboxLimits& limits);
// Whether a time-out says more about a busy host than about the program.
bool starved(const Report& report, std::uint32_t wall_ms);
// A limit that the answer broke, whatever its tests say.
std::optional<VerdictResult> broken_limit(const Report& report);

// How the process ended, when it was not by the end of its tests.
std::string ending(const Report& report);
// What a result means under these limits; empty for those that bring their own words.
std::string in_words(VerdictResult result, const SandboxLimits& limits);

}  // namespace quench::worker
