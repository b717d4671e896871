#include "worker/evaluate/sandbox/home_core.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <utility>

namespace quench::worker {
namespace {

using namespace std::chrono_literals;

constexpr auto kLookEvery = 1s;
// On a core of its own the host's thread is ready but waiting, for the rest of its sandbox, a tenth of the time; beside one
// busy process 15 to 26 %.
constexpr double kWaitedShareMax = 0.125;
constexpr double kIdleShareMin = 0.5;

// 0 where the kernel does not say.
double waited_s() {
  std::ifstream file("/proc/thread-self/schedstat");
  double ran_ns = 0, waited_ns = 0;
  file >> ran_ns >> waited_ns;
  return waited_ns * 1e-9;
}

std::vector<double> idle_s() {
  const auto ticks_per_second = static_cast<double>(::sysconf(_SC_CLK_TCK));
  std::vector<double> seconds;
  std::ifstream file("/proc/stat");
  std::string line;
  while (std::getline(file, line) && line.starts_with("cpu")) {
    std::istringstream fields(line.substr(3));
    std::size_t core = 0;
    double user = 0, nice = 0, system = 0, idle = 0;
    // The sum over all cores has no number: a blank follows.
    if (line[3] == ' ' || !(fields >> core >> user >> nice >> system >> idle) || core >= CPU_SETSIZE) continue;
    if (core >= seconds.size()) seconds.resize(core + 1);
    seconds[core] = idle / ticks_per_second;
  }
  return seconds;
}

}  // namespace

Cores::Cores() {
  CPU_ZERO(&all_);
  CPU_ZERO(&taken_);
  ::sched_getaffinity(0, sizeof all_, &all_);
}

bool Cores::take(int core) {
  if (core < 0 || core >= CPU_SETSIZE || !has(core)) return false;
  const std::lock_guard lock(mutex_);
  if (CPU_ISSET(static_cast<unsigned>(core), &taken_)) return false;
  CPU_SET(static_cast<unsigned>(core), &taken_);
  return true;
}

int Cores::take_any() {
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (take(core)) return core;
  return -1;
}

void Cores::give_back(int core) {
  const std::lock_guard lock(mutex_);
  CPU_CLR(static_cast<unsigned>(core), &taken_);
}

HomeCore::HomeCore(Cores& cores) : cores_(cores) {
  // Where the kernel has us now it found least to do.
  const int here = ::sched_getcpu();
  const int core = cores_.take(here) ? here : cores_.take_any();
  if (core >= 0) settle(core);
}

HomeCore::~HomeCore() {
  if (core_ >= 0) cores_.give_back(core_);
}

// To a core that was taken; it is given back when the kernel does not want us there.
bool HomeCore::settle(int core) {
  cpu_set_t home;
  CPU_ZERO(&home);
  CPU_SET(static_cast<unsigned>(core), &home);
  if (::sched_setaffinity(0, sizeof home, &home) != 0) {
    cores_.give_back(core);
    return false;
  }
  if (core_ >= 0) cores_.give_back(core_);
  core_ = core;
  return true;
}

bool HomeCore::look() {
  const auto now = Clock::now();
  if (core_ < 0 || now - looked_ < kLookEvery) return false;
  const bool is_first = seen_.idle_s.empty();
  const CoreLoad before = std::exchange(seen_, {0, waited_s(), idle_s()});
  CoreLoad since{std::chrono::duration<double>(now - std::exchange(looked_, now)).count(), seen_.waited_s - before.waited_s, {}};
  if (is_first) return false;
  for (std::size_t core = 0; core < std::min(before.idle_s.size(), seen_.idle_s.size()); ++core)
    since.idle_s.push_back(seen_.idle_s[core] - before.idle_s[core]);
  std::vector<int> better = better_cores(since);
  // Two that share a core would otherwise meet again on the next one.
  std::shuffle(better.begin(), better.end(), std::minstd_rand(std::random_device{}()));
  return std::any_of(better.begin(), better.end(), [&](int core) { return cores_.take(core) && settle(core); });
}

std::vector<int> better_cores(const CoreLoad& load) {
  std::vector<int> better;
  if (load.waited_s <= kWaitedShareMax * load.seconds) return better;
  for (std::size_t core = 0; core < load.idle_s.size(); ++core)
    if (load.idle_s[core] >= kIdleShareMin * load.seconds) better.push_back(static_cast<int>(core));
  return better;
}

}  // namespace quench::worker
