// Whether a request that did not succeed is worth another try, and when: decisions on plain data, tested
// without clocks and sockets.
#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>

#include "schemas/error.h"
#include "worker/endpoint/http_client.h"

namespace quench::worker {

struct RetryPolicy {
  std::uint32_t tries_max = 8;
  // Before the second try; then twice as long each time, up to `wait_longest`.
  std::chrono::milliseconds wait_first{500};
  std::chrono::milliseconds wait_longest{30'000};
  // A server that asks for more patience than this gets a clear error instead.
  std::chrono::milliseconds retry_after_max{600'000};
};

// What one try came to: an answer that is no success, or no answer.
struct FailedTry {
  std::optional<HttpReply> reply;
  std::optional<Error> error;
};

struct RetryDecision {
  bool again = false;
  std::chrono::milliseconds wait{0};
  // Why not again: what was seen, what to do. Empty when again.
  std::string reason;
  ErrorCode code = ErrorCode::unreachable;
};

// After try number `tries` (from 1). `jitter` in [0, 1) spreads clients that failed together: the wait is
// between half and all of its length, never less than what the server asked for. `now`: Unix time, for a
// Retry-After that is a date. Busy and broken servers (408, 425, 429, 5xx), lost connections, half answers
// and answers that are no completion are tried again; what the request itself causes (other 4xx, redirects) is not.
RetryDecision decide_retry(const RetryPolicy& policy, std::uint32_t tries, const FailedTry& failed, double jitter,
                           std::time_t now);

// Seconds or an HTTP date (RFC 9110, 10.2.3); nothing when it is neither.
std::optional<std::chrono::milliseconds> parse_retry_after(std::string_view text, std::time_t now);

}  // namespace quench::worker
