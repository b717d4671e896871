// When a request is tried again, by a clock that the test holds.
#include "worker/endpoint/retry.h"

#include <gtest/gtest.h>

namespace quench::worker {
namespace {

using std::chrono::milliseconds;

constexpr std::time_t kNow = 1'795'000'000;

FailedTry answered(int status, const std::string& body = "", std::optional<std::string> retry_after = {}) {
  return {HttpReply{status, std::move(retry_after), body}, {}};
}

RetryDecision decide(std::uint32_t tries, const FailedTry& failed, double jitter = 1) {
  return decide_retry({}, tries, failed, jitter, kNow);
}

TEST(Retry, BusyAndBrokenServersAreTriedAgainLongerAndLonger) {
  for (const int status : {408, 425, 429, 500, 502, 503, 504}) {
    milliseconds before{0};
    for (std::uint32_t tries = 1; tries < RetryPolicy{}.tries_max; ++tries) {
      const RetryDecision decision = decide(tries, answered(status));
      ASSERT_TRUE(decision.again) << status;
      EXPECT_GE(decision.wait, before);
      EXPECT_LE(decision.wait, RetryPolicy{}.wait_longest);
      before = decision.wait;
    }
    EXPECT_EQ(before, RetryPolicy{}.wait_longest);
    const RetryDecision last = decide(RetryPolicy{}.tries_max, answered(status, "sorry"));
    EXPECT_FALSE(last.again);
    EXPECT_EQ(last.code, ErrorCode::unreachable);
    EXPECT_NE(last.reason.find(std::to_string(status)), std::string::npos) << last.reason;
    EXPECT_NE(last.reason.find("sorry"), std::string::npos) << last.reason;
    EXPECT_NE(last.reason.find("goes on where it stopped"), std::string::npos) << last.reason;
  }
}

TEST(Retry, WaitsAreSpread) {
  EXPECT_EQ(decide(1, answered(500), 0).wait, milliseconds(250));
  EXPECT_EQ(decide(1, answered(500), 1).wait, milliseconds(500));
  EXPECT_EQ(decide(3, answered(500), 0.5).wait, milliseconds(1500));
}

TEST(Retry, AServersWishIsHonoured) {
  EXPECT_EQ(decide(1, answered(429, "", "7")).wait, milliseconds(7'000));
  EXPECT_EQ(decide(1, answered(503, "", "0")).wait, milliseconds(500)) << "never less than our own patience";
  EXPECT_EQ(decide(1, answered(429, "", "soon")).wait, milliseconds(500));
  const RetryDecision patience = decide(1, answered(429, "", "86400"));
  EXPECT_FALSE(patience.again);
  EXPECT_NE(patience.reason.find("86400 s"), std::string::npos) << patience.reason;
}

TEST(Retry, RetryAfterMayBeADate) {
  EXPECT_EQ(parse_retry_after("120", kNow), milliseconds(120'000));
  EXPECT_EQ(parse_retry_after(" 1 ", kNow), milliseconds(1'000));
  // 1795000000 is 2026-11-18 11:06:40 UTC.
  EXPECT_EQ(parse_retry_after("Wed, 18 Nov 2026 11:07:00 GMT", kNow), milliseconds(20'000));
  EXPECT_EQ(parse_retry_after("Wed, 18 Nov 2020 11:07:00 GMT", kNow), milliseconds(0));
  for (const char* nonsense : {"", "-1", "1.5", "99999999999999999999", "Wed, 18 Nov 2026 11:07:00 GMT and more"})
    EXPECT_EQ(parse_retry_after(nonsense, kNow), std::nullopt) << nonsense;
}

TEST(Retry, WhatTheRequestCausesIsNotTriedAgain) {
  EXPECT_EQ(decide(1, answered(401)).code, ErrorCode::refused);
  EXPECT_NE(decide(1, answered(401)).reason.find("apiKeyVariable"), std::string::npos);
  EXPECT_EQ(decide(1, answered(403)).code, ErrorCode::refused);
  for (const int status : {301, 400, 404, 405, 422}) {
    const RetryDecision decision = decide(1, answered(status, "{\"error\": \"stop has 5 entries\"}"));
    EXPECT_FALSE(decision.again) << status;
    EXPECT_EQ(decision.code, ErrorCode::bad_input) << status;
    EXPECT_NE(decision.reason.find("stop has 5 entries"), std::string::npos);
  }
}

TEST(Retry, LostConnectionsAndBadAnswersAreTriedAgain) {
  for (const ErrorCode code : {ErrorCode::unreachable, ErrorCode::timed_out, ErrorCode::corrupt}) {
    const FailedTry failed{{}, Error(code, "what happened")};
    EXPECT_TRUE(decide(1, failed).again);
    const RetryDecision last = decide(RetryPolicy{}.tries_max, failed);
    EXPECT_FALSE(last.again);
    EXPECT_EQ(last.code, ErrorCode::unreachable);
    EXPECT_NE(last.reason.find("8 times, last: what happened"), std::string::npos) << last.reason;
  }
  FailedTry garbage = answered(200, "<html>");
  garbage.error = Error(ErrorCode::corrupt, "is no JSON");
  EXPECT_TRUE(decide(1, garbage).again);
}

TEST(Retry, AServersTextCannotSpeakToTheTerminal) {
  const RetryDecision decision = decide(1, answered(400, "\x1b[31mred\x1b[0m\r\n\x07"));
  for (const char c : decision.reason) EXPECT_GE(c, ' ');
  EXPECT_LT(decide(1, answered(400, std::string(1 << 20, 'x'))).reason.size(), 1000u);
}

}  // namespace
}  // namespace quench::worker
