// What a collective needs of the wire between ranks: to send one segment and receive another at once.
// MPI and the threads of a ThreadGang provide it; the algorithms are the same (peer_collective.cc).
#pragma once

#include <cstdint>
#include <span>

#include "cluster/collective/collective.h"

namespace quench::cluster {

struct Outgoing {
  std::uint32_t to = 0;
  std::span<const std::uint8_t> bytes;  // empty: nothing is sent
};
struct Incoming {
  std::uint32_t from = 0;
  std::span<std::uint8_t> bytes;  // empty: nothing is received
};

class PeerTransport {
 public:
  virtual ~PeerTransport() = default;
  virtual std::uint32_t rank() const = 0;
  virtual std::uint32_t world() const = 0;
  // Returns when both are complete. `operation` counts the gang's operations, so that ranks which
  // disagree on their order fail instead of adding one tensor to another. Throws Error(timed_out)
  // "no progress for 30 s …", the AbortFlag's reason, or Error(failed) with the library's words.
  virtual void exchange(const Outgoing& out, const Incoming& in, std::uint64_t operation) = 0;
  // An operation threw; the gang cannot go on.
  virtual void on_broken() = 0;
};

// The text and code of a wait that was too long, the same for every transport.
Error no_progress_error(std::uint32_t progress_ms_max, const Outgoing& out, const Incoming& in);
// Whether such a wait is too long by now.
bool missed(const CollectiveOptions& options, std::chrono::steady_clock::duration waited);

}  // namespace quench::cluster
