// Boost 1.74 uses std::exchange without including it.
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http.hpp>
#include <iterator>
#include <stdexcept>
#include <string>

#include "coordinator/http/exchange.h"
#include "coordinator/http/paths.h"
#include "coordinator/http/server.h"
#include "schemas/service_json.h"
#include "tests/fuzz/targets.h"

namespace quench::fuzz {
namespace {

namespace http = boost::beast::http;
using namespace quench::coordinator;

std::string with_body(const std::string& head, const std::string& body) {
  return head + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

const std::string kRequests[] = {
    "GET /v1/jobs?state=queued&limit=5 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer 0123456789abcdef\r\n\r\n",
    with_body("POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n",
              R"({"name": "a", "model": "/m", "quantize": [{"method": "int8"}]})"),
    "POST /v1/jobs/1/cancel HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n{\"reason\": \"abc\"}\r\n0\r\n\r\n",
    with_body("POST /v1/tokens HTTP/1.1\r\n", R"({"user": "alice", "scopes": ["read"], "days": 30})"),
    "GET /v1/artifacts/a%2Fb HTTP/1.1\r\nConnection: keep-alive\r\n\r\nGET /metrics HTTP/1.0\r\n\r\n",
    "GET /v1/jobs/7/logs?from=3 HTTP/1.1\r\nLast-Event-ID: 9\r\nAccept: text/event-stream\r\nExpect: 100-continue\r\n\r\n",
};

// What the handlers do with a body before they know who asks for what.
void read_body(const Route& route, const HttpRequest& request) {
  const std::string_view type = route.request;
  if (type == "JobSpec") parse_job(request.body, "the request's body", "/");
  if (type == "CancelRequest") from_json<CancelRequest>(request.body, "the request's body");
  if (type == "NameRequest") from_json<NameRequest>(request.body, "the request's body");
  if (type == "TokenRequest") from_json<TokenRequest>(request.body, "the request's body");
}

void answer(http::request<http::string_body>& raw) {
  HttpRequest request;
  request.method = std::string(raw.method_string());
  request.authorization = std::string(raw[http::field::authorization]);
  request.last_event_id = std::string(raw["Last-Event-ID"]);
  parse_target(std::string_view(raw.target().data(), raw.target().size()), request);
  request.body = std::move(raw.body());
  for (const std::string& segment : request.segments)
    if (segment.empty() || segment == "." || segment == ".." || segment.find('\0') != std::string::npos)
      throw std::logic_error("a path got through that is no plain one");
  const RouteMatch match = match_route(request);
  read_body(*match.route, request);
  escape_segment(request.query_value("state"));
}

}  // namespace

Bytes valid_request(std::uint64_t seed) {
  const std::string& text = kRequests[seed % std::size(kRequests)];
  return Bytes(text.begin(), text.end());
}

void take_request(const Bytes& input) {
  constexpr HttpLimits kLimits;
  std::size_t at = 0;
  // In pieces, as they come from a socket; one request after another, as on one connection.
  while (at < input.size()) {
    http::request_parser<http::string_body> parser;
    parser.header_limit(static_cast<std::uint32_t>(kLimits.header_bytes_max));
    parser.body_limit(kLimits.body_bytes_max);
    parser.eager(true);
    std::size_t shown = std::min(input.size(), at + 1 + input[at] % 97);
    for (;;) {
      boost::beast::error_code error;
      const std::size_t used = parser.put(boost::asio::buffer(input.data() + at, shown - at), error);
      at += used;
      if (parser.is_done()) break;
      if (error && error != http::error::need_more) throw Error(ErrorCode::bad_input, "this is no HTTP request: " + error.message());
      if (shown == input.size() && (error == http::error::need_more || used == 0 || at == input.size()))
        throw Error(ErrorCode::bad_input, "a request that ends too early");
      shown = std::min(input.size(), shown + 1 + input[at % input.size()] % 97);
    }
    auto raw = parser.release();
    if (raw.body().size() > kLimits.body_bytes_max) throw std::logic_error("a body beyond its bound");
    answer(raw);
    if (!raw.keep_alive()) return;
  }
}

}  // namespace quench::fuzz
