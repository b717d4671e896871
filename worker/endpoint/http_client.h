// One HTTP or HTTPS request at a time, everything bounded: the time from connecting to the last byte, the
// size of the answer. A connection serves one request: completions take seconds, connecting does not, and a
// server that closes idle connections then never looks like one that fails. Any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "schemas/endpoint_url.h"

namespace quench::worker {

struct HttpReply {
  int status = 0;
  std::optional<std::string> retry_after;  // the header as it came
  std::string body;
};

struct HttpLimits {
  std::chrono::milliseconds timeout{600'000};
  std::size_t body_bytes_max = std::size_t{8} << 20;
};

// Posts `body` as JSON to `url` + `path`. Certificates are checked against the system's roots (SSL_CERT_FILE
// and SSL_CERT_DIR name others). Redirects are not followed. Throws Error(unreachable) when nobody answers or
// the certificate does not fit, Error(timed_out), Error(corrupt) for half an answer, one that is no
// HTTP, or one that is too large.
HttpReply post_json(const EndpointUrl& url, const std::string& path,
                    const std::vector<std::pair<std::string, std::string>>& headers, const std::string& body,
                    const HttpLimits& limits);

}  // namespace quench::worker
