// The host's end of a desk (desk.py): one process that runs the tests of many answers, for tests that leave
// nothing behind. It stays in its sandbox until the zygote is asked for something else. One thread, the zygote's.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "worker/evaluate/sandbox/frames.h"
#include "worker/evaluate/sandbox/owned_fd.h"
#include "worker/evaluate/sandbox/report.h"
#include "worker/evaluate/sandbox/zygote.h"

namespace quench::worker {

class Desk {
 public:
  // Asks the zygote for the process. Throws Error(failed) when the zygote is gone.
  Desk(Zygote& zygote, const SandboxLimits& limits, std::uint64_t id);

  // Whether these tests (the JSON text of their fields) may run here; the desk reads them once.
  // Throws Error(failed) or Error(timed_out) when the desk is broken.
  bool takes(const std::string& tests, SandboxClock::time_point deadline);
  // Runs tests that it takes against the answer at the other end of `channel`.
  void examine(const std::string& tests, std::uint64_t id, const std::string& nonce, std::uint32_t cpu_ms,
               int channel);
  void move_to(int core);
  // To be polled for reading.
  int socket() const { return socket_.get(); }
  // What became of the tests, as the zygote would have reported it. Throws Error(failed) when the process has
  // ended: the zygote knows how.
  Report receive(std::uint64_t id, SandboxClock::time_point deadline);
  // After a run that ended in an unusual way, and after many: the next answer wants a new desk.
  bool is_used_up() const { return used_up_; }
  // Of the time that the process has waited for a core so far, what belongs to earlier answers.
  std::uint64_t waited_before_ms() const { return waited_ms_; }

 private:
  struct Known {
    std::size_t number;
    bool taken;
  };

  OwnedFd socket_;
  std::unordered_map<std::string, Known> known_;
  std::uint64_t waited_ms_ = 0;
  bool used_up_ = false;
};

}  // namespace quench::worker
