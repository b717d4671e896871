#include "coordinator/http/exchange.h"

#include <fmt/format.h>

#include "coordinator/queue/queue.h"
#include "schemas/service_json.h"

namespace quench::coordinator {
namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

[[noreturn]] void bad_target(const std::string& what) {
  throw HttpProblem(400, "bad_request", "the request's target " + what);
}

std::string unescaped(std::string_view text, bool plus_is_space) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
      if (high < 0 || low < 0) bad_target("has a % without two hexadecimal digits behind it");
      c = static_cast<char>(high * 16 + low);
      i += 2;
    } else if (c == '+' && plus_is_space) {
      c = ' ';
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) bad_target("holds a control character");
    out += c;
  }
  return out;
}

}  // namespace

std::string HttpRequest::query_value(std::string_view name) const {
  std::string found;
  for (const auto& [key, value] : query)
    if (key == name) found = value;
  return found;
}

bool HttpRequest::has_query(std::string_view name) const {
  for (const auto& [key, value] : query)
    if (key == name) return true;
  return false;
}

HttpProblem::HttpProblem(unsigned status, std::string code, const std::string& message)
    : Error(status == 401 || status == 403 ? ErrorCode::refused : ErrorCode::bad_input, message),
      status_(status),
      name_(std::move(code)) {}

HttpReply problem_reply(unsigned status, const std::string& code, const std::string& message) {
  HttpReply reply;
  reply.status = status;
  reply.body = to_json(ApiProblem{code, message});
  if (status == 401) reply.headers.emplace_back("WWW-Authenticate", "Bearer realm=\"quench\"");
  return reply;
}

HttpReply problem_reply(const Error& error) {
  if (const auto* problem = dynamic_cast<const HttpProblem*>(&error))
    return problem_reply(problem->status(), problem->name(), problem->what());
  if (const auto* refusal = dynamic_cast<const QueueRefusal*>(&error)) {
    using Kind = QueueRefusal::Kind;
    switch (refusal->kind()) {
      case Kind::no_such_job: return problem_reply(404, "not_found", refusal->what());
      case Kind::not_yours: return problem_reply(403, "forbidden", refusal->what());
      case Kind::wrong_state: return problem_reply(409, "wrong_state", refusal->what());
      case Kind::too_large: return problem_reply(422, "too_large", refusal->what());
      case Kind::full: return problem_reply(503, "queue_full", refusal->what());
      case Kind::quota: return problem_reply(429, "quota", refusal->what());
      case Kind::stopping: return problem_reply(503, "stopping", refusal->what());
    }
  }
  switch (error.code()) {
    case ErrorCode::bad_input: return problem_reply(400, "bad_input", error.what());
    case ErrorCode::refused: return problem_reply(403, "forbidden", error.what());
    default: return problem_reply(500, std::string(to_string(error.code())), error.what());
  }
}

void parse_target(std::string_view target, HttpRequest& request) {
  if (target.empty() || target.front() != '/') bad_target("must begin with /");
  const std::size_t mark = target.find('?');
  std::string_view path = target.substr(1, mark == std::string_view::npos ? mark : mark - 1);
  if (path.find('#') != std::string_view::npos) bad_target("holds a #");
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string segment = unescaped(path.substr(0, slash), false);
    if (segment.empty() || segment == "." || segment == "..")
      bad_target("has a path with an empty, \".\" or \"..\" part");
    request.segments.push_back(segment);
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
    if (path.empty()) bad_target("has a path that ends with /");
  }
  if (mark == std::string_view::npos) return;
  std::string_view query = target.substr(mark + 1);
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    const std::size_t equals = pair.find('=');
    if (!pair.empty())
      request.query.emplace_back(
          unescaped(pair.substr(0, equals), true),
          equals == std::string_view::npos ? std::string() : unescaped(pair.substr(equals + 1), true));
    if (end == std::string_view::npos) break;
    query.remove_prefix(end + 1);
  }
}

std::string escape_segment(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~';
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

}  // namespace quench::coordinator
