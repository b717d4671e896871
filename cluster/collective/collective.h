// The data plane between the ranks of one gang: whole-gang operations on tensors. Every rank calls the
// same operations in the same order with the same label from one thread.
//
// - Nothing here sums floating point numbers: int64 sums and int32 maxima are exact in any order, which
//   is what keeps an artifact's bytes the same on any number of ranks (DESIGN.md section 3).
// - A wait is bounded: when no segment (8 MiB) of the operation arrives or leaves for progress_ms_max, it
//   throws Error(timed_out) "rank 2: all_reduce "hessian q_proj": no progress for 30 s". The
//   deadline covers the time a slower peer still computes before it joins in, so it must exceed the
//   largest imbalance. While waiting the core is free (polling with back-off).
// - AbortFlag, set from another thread (the coordinator is lost), makes a waiting operation throw.
// - After a throw the collective is broken: the other ranks are somewhere else, buffers may still be in
//   use. Every later call throws the same Error; the gang must be aborted (MpiSession::abort).
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::cluster {

// Set once, from any thread; read by the waiting loops.
class AbortFlag {
 public:
  void set(Error reason);
  bool is_set() const { return is_set_.load(std::memory_order_acquire); }
  // Throws the reason when set.
  void check() const;

  // Between the two no rank counts as late, nor does the time before: the others may wait for something that this rank
  // waits for too, such as the next coordinator.
  void excuse();
  void end_excuse();
  // Whether a rank that was `waited` for has missed its deadline.
  bool is_late(std::chrono::steady_clock::duration waited, std::uint32_t progress_ms_max) const;

 private:
  std::atomic<bool> excused_{false};
  std::atomic<std::chrono::steady_clock::rep> counts_from_{0};
  std::atomic<bool> is_set_{false};
  mutable std::mutex mutex_;
  std::optional<Error> reason_;
};

inline constexpr std::size_t kSegmentBytes = 8 << 20;

struct CollectiveOptions {
  std::uint32_t progress_ms_max = 30'000;
  std::size_t segment_bytes = kSegmentBytes;  // a multiple of 8; the same on every rank
  const AbortFlag* abort = nullptr;           // must outlive the collective
};

class Collective {
 public:
  virtual ~Collective() = default;
  virtual std::uint32_t rank() const = 0;
  virtual std::uint32_t world() const = 0;

  virtual void barrier(std::string_view label) = 0;

  // `bytes` has the same size on every rank; afterwards it holds the root's bytes everywhere.
  virtual void broadcast(std::span<std::uint8_t> bytes, std::uint32_t root, std::string_view label) = 0;

  // Rank r gives counts[r] bytes; `all` (the sum of the counts) holds them in rank order afterwards.
  // `counts` is the same on every rank. `mine` may be its own place in `all`.
  virtual void all_gather(std::span<const std::uint8_t> mine, std::span<const std::size_t> counts,
                          std::span<std::uint8_t> all, std::string_view label) = 0;
  // The same without knowing the others' sizes.
  virtual std::vector<Bytes> all_gather_bytes(std::span<const std::uint8_t> mine, std::string_view label) = 0;
  // The root gets all in rank order, the others an empty vector.
  virtual std::vector<Bytes> gather_bytes(std::span<const std::uint8_t> mine, std::uint32_t root,
                                          std::string_view label) = 0;

  // In place, element by element over the ranks. Sums wrap like unsigned integers.
  virtual void all_reduce_sum(std::span<std::int64_t> values, std::string_view label) = 0;
  virtual void all_reduce_max(std::span<std::int32_t> values, std::string_view label) = 0;
  // `values` is the ranks' pieces one after another, counts[r] elements for rank r (the same counts on
  // every rank); this rank's piece of the sum goes to `mine` (counts[rank()] elements), which may be its
  // place in `values`. The rest of `values` is left as it was.
  virtual void reduce_scatter_sum(std::span<const std::int64_t> values, std::span<const std::size_t> counts,
                                  std::span<std::int64_t> mine, std::string_view label) = 0;
};

// Any trivially copyable elements, for floats that only travel and are never added here.
template <typename Element>
void broadcast_elements(Collective& gang, std::span<Element> elements, std::uint32_t root,
                        std::string_view label) {
  static_assert(std::is_trivially_copyable_v<Element>);
  gang.broadcast({reinterpret_cast<std::uint8_t*>(elements.data()), elements.size_bytes()}, root, label);
}
// counts are in elements.
template <typename Element>
void all_gather_elements(Collective& gang, std::span<const Element> mine, std::span<const std::size_t> counts,
                         std::span<Element> all, std::string_view label) {
  static_assert(std::is_trivially_copyable_v<Element>);
  std::vector<std::size_t> bytes(counts.begin(), counts.end());
  for (std::size_t& count : bytes) count *= sizeof(Element);
  gang.all_gather({reinterpret_cast<const std::uint8_t*>(mine.data()), mine.size_bytes()}, bytes,
                  {reinterpret_cast<std::uint8_t*>(all.data()), all.size_bytes()}, label);
}

}  // namespace quench::cluster
