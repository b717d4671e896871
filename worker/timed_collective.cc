#include "worker/timed_collective.h"

#include <chrono>

namespace quench::worker {
namespace {

using Clock = std::chrono::steady_clock;

template <typename Operation>
auto timed(std::map<std::string, double, std::less<>>& seconds, std::string_view label, const Operation& operation) {
  struct Stop {
    double& seconds;
    Clock::time_point began = Clock::now();
    ~Stop() { seconds += std::chrono::duration<double>(Clock::now() - began).count(); }
  } stop{seconds[std::string(label)]};
  return operation();
}

}  // namespace

double TimedCollective::seconds(const std::string& label) const {
  const auto found = seconds_.find(label);
  return found == seconds_.end() ? 0 : found->second;
}

void TimedCollective::barrier(std::string_view label) {
  timed(seconds_, label, [&] { gang_.barrier(label); });
}

void TimedCollective::broadcast(std::span<std::uint8_t> bytes, std::uint32_t root, std::string_view label) {
  timed(seconds_, label, [&] { gang_.broadcast(bytes, root, label); });
}

void TimedCollective::all_gather(std::span<const std::uint8_t> mine, std::span<const std::size_t> counts,
                                 std::span<std::uint8_t> all, std::string_view label) {
  timed(seconds_, label, [&] { gang_.all_gather(mine, counts, all, label); });
}

std::vector<Bytes> TimedCollective::all_gather_bytes(std::span<const std::uint8_t> mine, std::string_view label) {
  return timed(seconds_, label, [&] { return gang_.all_gather_bytes(mine, label); });
}

std::vector<Bytes> TimedCollective::gather_bytes(std::span<const std::uint8_t> mine, std::uint32_t root,
                                                 std::string_view label) {
  return timed(seconds_, label, [&] { return gang_.gather_bytes(mine, root, label); });
}

void TimedCollective::all_reduce_sum(std::span<std::int64_t> values, std::string_view label) {
  timed(seconds_, label, [&] { gang_.all_reduce_sum(values, label); });
}

void TimedCollective::all_reduce_max(std::span<std::int32_t> values, std::string_view label) {
  timed(seconds_, label, [&] { gang_.all_reduce_max(values, label); });
}

void TimedCollective::reduce_scatter_sum(std::span<const std::int64_t> values, std::span<const std::size_t> counts,
                                         std::span<std::int64_t> mine, std::string_view label) {
  timed(seconds_, label, [&] { gang_.reduce_scatter_sum(values, counts, mine, label); });
}

}  // namespace quench::worker
