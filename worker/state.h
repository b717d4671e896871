// What a rank knows of its conversation with the coordinator: what arrived and was not yet taken by the
// compute thread, and what was said and has no answer yet. Plain data; the service guards it with its mutex.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>

#include "schemas/codec.h"
#include "schemas/error.h"
#include "schemas/messages.h"

namespace quench::worker {

struct ChunkAnswer {
  Digest digest;
  Bytes bytes;
};

// What a commit makes durable: an artifact's outer tensors, or one of its blocks. In the order of commits.
struct CommitStep {
  std::uint32_t artifact = 0;
  std::uint32_t step = 0;  // 0: the outer tensors; n: block n - 1
  auto operator<=>(const CommitStep&) const = default;
};

// A chunk that no commit has named yet: a coordinator that dies may not have kept it.
struct HeldChunk {
  CommitStep step;
  Digest digest;
  std::shared_ptr<const Bytes> bytes;  // shared with the thread that sends it just now
};

struct State {
  std::deque<Message> orders;  // QuantizeOrder, EvaluateOrder, ExitOrder: in the order sent
  std::uint32_t orders_come = 0;  // as Resuming::orders
  std::uint64_t chunks_put = 0;   // on this connection
  std::uint64_t chunks_stored = 0;
  std::deque<BlockCommitted> commits;
  std::deque<LeaseGrant> grants;
  // Answers to requests; the compute thread has one request out at a time.
  std::optional<ManifestReply> manifest;
  std::optional<ChunkAnswer> chunk;
  std::optional<RequestFailed> request_failed;
  std::uint64_t usages_kept = 0;
  // What the coordinator has not answered, to be said again to the next one.
  std::deque<Message> unanswered;
  CommitStep step;  // that the chunks being put belong to
  bool holds = false;          // the next coordinator is waited for
  std::deque<HeldChunk> held;  // for it
  // Why there is no coordinator any more.
  std::optional<Error> lost;
};

}  // namespace quench::worker
