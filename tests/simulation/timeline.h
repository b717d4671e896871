// The clock of a simulated world: what happens next, in an order that depends on the seed alone.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <utility>

namespace quench::simulation {

using Ms = std::int64_t;

class Timeline {
 public:
  Ms now() const { return now_; }
  void after(Ms delay, std::function<void()> event) {
    events_.emplace(std::pair(now_ + delay, next_++), std::move(event));
  }
  // Lets the next event happen; false when there is none.
  bool step() {
    if (events_.empty()) return false;
    auto first = events_.extract(events_.begin());
    now_ = first.key().first;
    first.mapped()();
    return true;
  }

 private:
  // Events of one moment happen in the order in which they were asked for.
  std::map<std::pair<Ms, std::uint64_t>, std::function<void()>> events_;
  Ms now_ = 0;
  std::uint64_t next_ = 0;
};

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : random_(seed) {}
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
  Ms between(Ms low, Ms high) { return low + static_cast<Ms>(below(static_cast<std::uint64_t>(high - low + 1))); }
  bool one_in(std::uint64_t count) { return below(count) == 0; }

 private:
  std::mt19937_64 random_;
};

}  // namespace quench::simulation
