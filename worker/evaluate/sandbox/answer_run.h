// One answer in its sandbox by the short way (quick.py), seen from the host: the pipes of its output, its wall
// clock, and the word to stop. PID 1 sees to the rest. One thread, the zygote's.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include <poll.h>

#include "worker/evaluate/sandbox/frames.h"
#include "worker/evaluate/sandbox/owned_fd.h"
#include "worker/evaluate/sandbox/report.h"
#include "worker/evaluate/sandbox/zygote.h"

namespace quench::worker {

class AnswerRun {
 public:
  // Starts it; `channel` leads to its tests. Throws Error(failed) when the zygote is gone.
  AnswerRun(Zygote& zygote, const SandboxLimits& limits, std::uint64_t id, const std::string& source,
            std::uint32_t wall_ms, int channel);

  // What to poll; negative descriptors, which poll skips, once it has ended.
  std::array<pollfd, 3> entries() const;
  // When to call look() at the latest.
  SandboxClock::time_point due() const { return reason_.empty() ? wall_deadline_ : SandboxClock::time_point::max(); }
  // Reads output, watches the limits, takes the report. Throws Error(failed) when the zygote is gone.
  void look(SandboxClock::time_point broken_at);
  // Its tests have ended.
  void stop() { stop("stopped"); }
  // Once it has ended.
  std::optional<Report>& report() { return report_; }

 private:
  void stop(const char* reason);
  // False when nothing more is to be had now.
  bool read_output(OwnedFd& pipe, std::string* tail);
  void finish();

  Zygote& zygote_;
  std::uint64_t id_;
  std::uint64_t output_bytes_max_;
  SandboxClock::time_point wall_deadline_;
  OwnedFd out_, error_;
  std::uint64_t output_bytes_ = 0;
  std::string tail_;
  std::string reason_;  // why it was told to stop
  std::optional<Report> report_;
};

}  // namespace quench::worker
