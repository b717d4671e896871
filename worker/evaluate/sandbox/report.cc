#include "worker/evaluate/sandbox/report.h"

#include <signal.h>
#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "schemas/error.h"

namespace quench::worker {
namespace {

using Json = nlohmann::json;

// Waiting for a core this part of the wall clock makes a time-out inconclusive.
constexpr std::uint64_t kStarvedPart = 10;

}  // namespace

Json run_request(std::uint64_t id, const char* role, const SandboxLimits& limits, std::uint32_t wall_ms) {
  // CPU time stays at the limit when an answer is run again with a longer wall clock.
  return {{"id", id},
          {"role", role},
          {"nonce", ""},
          {"wall_ms", wall_ms},
          {"cpu_ms", limits.end_ms()},
          {"memory_bytes", limits.memory_bytes},
          {"total_memory_bytes", limits.total_memory_bytes},
          {"output_bytes", limits.output_bytes},
          {"disk_bytes", limits.disk_bytes},
          {"processes", limits.processes},
          {"open_files", limits.open_files}};
}

Report parse_report(const Json& reply, std::uint64_t id) {
  try {
    if (reply.at("id").get<std::uint64_t>() != id)
      throw Error(ErrorCode::failed, "the sandbox answered another request");
    const auto text_or_empty = [&](const char* field) {
      return reply.at(field).is_null() ? std::string() : reply.at(field).get<std::string>();
    };
    const auto number_or = [&](const char* field, int otherwise) {
      return reply.at(field).is_null() ? otherwise : reply.at(field).get<int>();
    };
    return Report{text_or_empty("reason"),
                  number_or("exit_code", -1),
                  number_or("signal", 0),
                  reply.at("violation").get<bool>(),
                  reply.at("dirty").get<bool>(),
                  text_or_empty("status"),
                  text_or_empty("stderr_tail"),
                  reply.at("cpu_ms").get<std::uint64_t>(),
                  reply.at("wall_ms").get<std::uint64_t>(),
                  reply.at("waited_ms").get<std::uint64_t>()};
  } catch (const Json::exception&) {
    throw Error(ErrorCode::failed, "the sandbox sent a reply without its fields");
  }
}

std::string fresh_nonce() {
  std::array<std::uint8_t, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    throw errno_error(ErrorCode::failed, "getrandom", errno);
  }
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (std::uint8_t byte : bytes) {
    text += kHex[byte >> 4];
    text += kHex[byte & 15];
  }
  return text;
}

bool ran_out_of_cpu(const Report& report, const SandboxLimits& limits) {
  return report.signal == SIGXCPU || (report.signal == SIGKILL && report.cpu_ms >= limits.end_ms());
}

bool is_borderline(const Report& report, const SandboxLimits& limits) {
  const bool came_to_its_end = report.reason == "stopped" || !ran_out_of_cpu(report, limits);
  return report.reason != "timed_out" && came_to_its_end && report.cpu_ms > limits.cpu_ms;
}

bool starved(const Report& report, std::uint32_t wall_ms) {
  return report.reason == "timed_out" && report.waited_ms * kStarvedPart >= wall_ms;
}

std::optional<VerdictResult> broken_limit(const Report& report) {
  if (report.violation) return VerdictResult::sandbox_violation;
  if (report.reason == "output_limit") return VerdictResult::output_limit;
  if (report.reason == "out_of_memory") return VerdictResult::out_of_memory;
  return std::nullopt;
}

std::string ending(const Report& report) {
  if (report.signal != 0) {
    const char* name = ::sigabbrev_np(report.signal);
    return "the process was ended by SIG" +
           std::string(name != nullptr ? name : std::to_string(report.signal).c_str());
  }
  return "the process ended with status " + std::to_string(report.exit_code) + " before its tests did";
}

std::string in_words(VerdictResult result, const SandboxLimits& limits) {
  switch (result) {
    case VerdictResult::timed_out:
      return "ran longer than " + std::to_string(limits.cpu_ms) + " ms";
    case VerdictResult::output_limit:
      return "wrote more than " + std::to_string(limits.output_bytes) + " bytes";
    case VerdictResult::out_of_memory:
      return "its processes together used more than " + std::to_string(limits.total_memory_bytes >> 20) +
             " MiB";
    case VerdictResult::sandbox_violation:
      return "made a system call that the sandbox forbids";
    default:
      return {};
  }
}

}  // namespace quench::worker
