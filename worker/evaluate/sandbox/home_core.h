// A core for one sandbox, where it is at home. Host thread, answer and tests take turns, several dozen in a program, and a turn that
// wakes another core costs more than the turn itself; so all of a sandbox stays on one core.
//
// A core that others want too is left for an idle one, where there is one: left to itself the kernel would have done that. One thread,
// the sandbox's; Cores any.
#pragma once

#include <sched.h>

#include <chrono>
#include <cstdint>
#include <mutex>
#include <vector>

namespace quench::worker {

// The cores that this process may use, and which of them are sandboxes' homes.
class Cores {
 public:
  Cores();
  bool has(int core) const { return CPU_ISSET(static_cast<unsigned>(core), &all_); }
  int count() const { return CPU_COUNT(&all_); }
  // False when it is not ours, or another sandbox's home.
  bool take(int core);
  // Any; -1 when each is a home.
  int take_any();
  void give_back(int core);

 private:
  cpu_set_t all_;
  std::mutex mutex_;
  cpu_set_t taken_;
};

// Of a stretch of time.
struct CoreLoad {
  double seconds = 0;
  double waited_s = 0;         // that the sandbox's thread was ready to run and did not
  std::vector<double> idle_s;  // of each core of the host
};
// Where a sandbox would do better than at home; empty when it has its core for itself, or no other has room.
std::vector<int> better_cores(const CoreLoad& load);

class HomeCore {
 public:
  // Moves the calling thread to its core; what it starts from then on inherits that. With more sandboxes than cores the last ones
  // have none, and run where the kernel likes.
  explicit HomeCore(Cores& cores);
  ~HomeCore();
  HomeCore(const HomeCore&) = delete;
  HomeCore& operator=(const HomeCore&) = delete;

  // Before a program: whether the thread has moved, and core() is where what it started before should follow.
  bool look();
  // -1: none.
  int core() const { return core_; }

 private:
  using Clock = std::chrono::steady_clock;
  bool settle(int core);

  Cores& cores_;
  int core_ = -1;
  // When it last looked, and what it saw, since the thread's and the host's start.
  Clock::time_point looked_;
  CoreLoad seen_;
};

}  // namespace quench::worker
