// Which chunks belong to publishes that are under way: put, or counted on, and not yet named by a commit. The
// collector leaves them alone. Kept in memory, because a publish does not outlive the process that owns the
// store: what was put and not committed before a crash has to be put again.
//
// Threads: any; every method locks.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <span>
#include <unordered_map>
#include <unordered_set>

#include "schemas/digest.h"

namespace quench::coordinator {

// A digest's first bytes are as good as any hash of it.
struct DigestHash {
  std::size_t operator()(const Digest& digest) const {
    std::size_t hash;
    std::memcpy(&hash, digest.bytes.data(), sizeof hash);
    return hash;
  }
};
using DigestSet = std::unordered_set<Digest, DigestHash>;

class OpenPublishes {
 public:
  using Clock = std::chrono::steady_clock;
  // A chunk that no commit has named for so long was given up. A block's chunks are named at its end, and the
  // largest blocks take hours.
  static constexpr std::chrono::hours kGivenUp{48};

  void touch(const Digest& digest);
  // A commit names them: from here on the catalog keeps them, except from a collection that read it earlier.
  void settle(std::span<const Digest> digests);
  bool holds(const Digest& digest) const;
  std::size_t size() const;

  // Between the two, settled chunks are remembered as well; chunks given up before `now` minus kGivenUp are
  // forgotten.
  void begin_collection(Clock::time_point now = Clock::now());
  void end_collection();

 private:
  mutable std::mutex mutex_;
  // Two publishes may put the same chunk: what one of them settles, the other still counts on. A publish that puts a chunk
  // twice and names it once keeps it until it is given up, which costs space and no chunk; one that names what it has not put can
  // end another's count, whose commit then fails and says what to put again.
  struct Touched {
    std::uint64_t times = 0;
    Clock::time_point last;
  };
  std::unordered_map<Digest, Touched, DigestHash> touched_;
  bool collecting_ = false;
  DigestSet settled_;  // while collecting
};

}  // namespace quench::coordinator
