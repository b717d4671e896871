// The host's end of one zygote (zygote.py): frames of JSON over its control socket. What a zygote says is
// checked like any other input, for programs run beside it. One thread, the one that made it.
#pragma once

#include <chrono>
#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>
#include <string>

#include "worker/evaluate/sandbox/bubblewrap.h"

namespace quench::worker {

// What a zygote keeps warm: what answers need, or what tests need.
enum class ZygoteKind { answers, tests };

class Zygote {
 public:
  using Clock = std::chrono::steady_clock;

  // Starts bwrap and waits until the warm Python is ready. `more` has files and folders (no command) for the
  // programs that it will start. Throws Error(bad_input) with bwrap's own words
  // and the remedy when the sandbox cannot be made on this host, Error(timed_out) when it is not ready in time,
  // Error(failed) when somebody has killed it.
  Zygote(const SandboxHost& host, const SandboxLimits& limits, const SandboxProgram& more = {},
         ZygoteKind kind = ZygoteKind::answers);

  // A request, with one descriptor when `fd` is not negative. Throws Error(failed) when the zygote is gone.
  void send(const nlohmann::json& message, int fd = -1);
  // A request that is not JSON (quick.py), with its descriptors.
  void send_text(std::string_view text, std::span<const int> fds);
  // To be polled for reading.
  int control() const { return process_.control(); }
  // The next message. Throws Error(failed) when the zygote is gone or has sent something else, and
  // Error(timed_out) past the deadline.
  nlohmann::json receive(Clock::time_point deadline);
  // Once it is gone: whether the kernel has ended it because its control group reached the memory limit.
  bool was_out_of_memory() const { return process_.was_out_of_memory(); }
  const std::string& python_version() const { return python_version_; }

 private:
  SandboxProcess process_;
  std::string python_version_;
};

}  // namespace quench::worker
