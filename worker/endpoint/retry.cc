#include "worker/endpoint/retry.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace quench::worker {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kExcerptBytes = 300;

bool is_worth_another_try(int status) {
  return status == 408 || status == 425 || status == 429 || status >= 500 || (status >= 200 && status < 300);
}

// The beginning of an answer, on one line: servers say there what they miss.
std::string excerpt(const std::string& body) {
  std::string text = body.substr(0, kExcerptBytes);
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c >= 0x7f; }, ' ');
  return text.empty() ? "(no text)" : "\"" + text + "\"";
}

ErrorCode code_of(int status) {
  if (status == 401 || status == 403) return ErrorCode::refused;
  if (status >= 300 && status < 500 && status != 408 && status != 425 && status != 429)
    return ErrorCode::bad_input;
  return ErrorCode::unreachable;
}

std::string remedy(int status) {
  if (status == 401 || status == 403)
    return ": put the key into the environment variable that the job's \"apiKeyVariable\" names";
  if (status == 404) return ": check the URL in \"model\" (it ends before /completions) and \"modelName\"";
  if (status >= 300 && status < 400) return ": redirects are not followed, give the final URL";
  if (status == 429) return ": the server is busy; run the job again later, it goes on where it stopped";
  return is_worth_another_try(status) ? ": run the job again when the server is well, it goes on where it stopped"
                                      : "";
}

}  // namespace

std::optional<milliseconds> parse_retry_after(std::string_view text, std::time_t now) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  std::uint32_t seconds = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (status == std::errc() && end == text.data() + text.size())
    return milliseconds(std::uint64_t{seconds} * 1000);
  std::tm date{};
  const std::string copy(text);
  const char* const rest = ::strptime(copy.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &date);
  if (rest == nullptr || *rest != '\0') return std::nullopt;
  const std::time_t at = ::timegm(&date);
  return milliseconds(std::max<std::int64_t>(0, at - now) * 1000);
}

RetryDecision decide_retry(const RetryPolicy& policy, std::uint32_t tries, const FailedTry& failed, double jitter,
                           std::time_t now) {
  RetryDecision decision;
  std::string seen;
  std::string advice;
  std::optional<milliseconds> asked;
  if (failed.reply) {
    const int status = failed.reply->status;
    seen = failed.error ? failed.error->what()
                        : "status " + std::to_string(status) + ", " + excerpt(failed.reply->body);
    advice = remedy(status);
    decision.code = code_of(status);
    if (failed.reply->retry_after) asked = parse_retry_after(*failed.reply->retry_after, now);
    if (!is_worth_another_try(status)) {
      decision.reason = "the endpoint answered " + seen + advice;
      return decision;
    }
  } else {
    seen = failed.error->what();
    decision.code = ErrorCode::unreachable;
    advice = ": run the job again when the endpoint answers, it goes on where it stopped";
  }
  if (tries >= policy.tries_max) {
    decision.reason = "the endpoint failed " + std::to_string(tries) + " times, last: " + seen + advice;
    return decision;
  }
  if (asked && *asked > policy.retry_after_max) {
    decision.reason = "the endpoint answered " + seen + " and asks to wait " +
                      std::to_string(asked->count() / 1000) + " s, longer than the " +
                      std::to_string(policy.retry_after_max.count() / 1000) + " s that a job waits" + advice;
    return decision;
  }
  const double longest = static_cast<double>(policy.wait_longest.count());
  const double doubled = static_cast<double>(policy.wait_first.count()) * std::exp2(std::min(tries - 1, 30u));
  const auto wait = milliseconds(static_cast<std::int64_t>(std::min(longest, doubled) * (0.5 + 0.5 * jitter)));
  decision.again = true;
  decision.wait = std::max(wait, asked.value_or(milliseconds(0)));
  return decision;
}

}  // namespace quench::worker
