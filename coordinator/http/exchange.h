// One HTTP request and its reply as values, so that everything but server.cc and client.cc is free of sockets and of
// Beast.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "schemas/error.h"

namespace quench::coordinator {

// How the answer to a path without a route begins; a service of an older build is known by it.
inline constexpr std::string_view kNothingHere = "there is nothing at this path";

// Who is at the other end, as far as the kernel knows.
struct HttpPeer {
  bool local = false;     // on the Unix socket
  std::uint32_t uid = 0;  // of a local peer
  std::string address;    // for the log
};

struct HttpRequest {
  std::string method;
  std::vector<std::string> segments;  // of the path, decoded
  std::vector<std::pair<std::string, std::string>> query;
  std::string authorization;
  std::string content_type;
  std::string last_event_id;
  std::string body;
  HttpPeer peer;

  // The last value of that name; empty when there is none.
  std::string query_value(std::string_view name) const;
  bool has_query(std::string_view name) const;
};

// What a stream of events is read from. Event-loop thread.
class EventFeed {
 public:
  virtual ~EventFeed() = default;
  // What is new, as text of the event stream; empty when nothing is.
  virtual std::string take() = 0;
  // Calls `wake` once, when there is something to take.
  virtual void wait(std::function<void()> wake) = 0;
};

struct HttpReply {
  unsigned status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
  // Instead of a body: events until the peer leaves. Two owners: the connection and, for waking it, the hub.
  std::shared_ptr<EventFeed> feed;
};

// What a handler throws to answer with this status.
class HttpProblem : public Error {
 public:
  HttpProblem(unsigned status, std::string code, const std::string& message);
  unsigned status() const { return status_; }
  const std::string& name() const { return name_; }

 private:
  unsigned status_;
  std::string name_;
};

// {"code": ..., "message": ...}
HttpReply problem_reply(unsigned status, const std::string& code, const std::string& message);
// The reply that stands for a caught Error.
HttpReply problem_reply(const Error& error);

// Takes "/v1/jobs/7?from=3" apart. Throws HttpProblem(400) for what is no plain absolute path: bad escapes, control
// characters, empty, "." and ".." segments.
void parse_target(std::string_view target, HttpRequest& request);
// The text with everything but letters, digits and "-._~" escaped.
std::string escape_segment(std::string_view text);

}  // namespace quench::coordinator
