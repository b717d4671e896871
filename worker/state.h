// What a rank knows of its conversation with the coordinator: what arrived and was not yet taken by the
// compute thread. Plain data; the service guards it with its mutex.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>

#include "schemas/codec.h"
#include "schemas/error.h"
#include "schemas/messages.h"

namespace quench::worker {

struct ChunkAnswer {
  Digest digest;
  Bytes bytes;
};

struct State {
  std::deque<Message> orders;  // QuantizeOrder, EvaluateOrder, ExitOrder: in the order sent
  std::uint64_t chunks_put = 0;
  std::uint64_t chunks_stored = 0;
  std::deque<BlockCommitted> commits;
  std::deque<LeaseGrant> grants;
  // Answers to requests; the compute thread has one request out at a time.
  std::optional<ManifestReply> manifest;
  std::optional<ChunkAnswer> chunk;
  std::optional<RequestFailed> request_failed;
  std::uint64_t usages_kept = 0;
  // Why there is no coordinator any more.
  std::optional<Error> lost;
};

}  // namespace quench::worker
