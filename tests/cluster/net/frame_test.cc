#include "cluster/net/frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "schemas/error.h"

namespace quench::cluster {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Error error_of(std::span<const std::uint8_t> raw, const FrameBounds& bounds = {}) {
  try {
    parse_header(raw, bounds);
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "the header was taken";
  return Error(ErrorCode::internal, "the header was taken");
}

TEST(Frame, KeepsWhatWasWritten) {
  const FrameHeader header{.attempt = {0x01020304}, .control_bytes = 17, .payload_bytes = kPayloadBytesMax};
  EXPECT_EQ(parse_header(encode_header(header)), header);
}

TEST(Frame, HasTheDocumentedBytes) {
  const FrameHeaderBytes raw = encode_header({.attempt = {7}, .control_bytes = 256, .payload_bytes = 3});
  const FrameHeaderBytes expected{'Q', 'N', 'C', 'H', 1, 0, 0, 0, 7, 0, 0, 0, 0, 1, 0, 0, 3, 0, 0, 0};
  EXPECT_EQ(raw, expected);
}

TEST(Frame, RefusesForeignProtocols) {
  FrameHeaderBytes http{};
  std::ranges::copy(std::string_view("GET / HTTP/1.1\r\nHost"), http.begin());
  const Error error = error_of(http);
  EXPECT_EQ(error.code(), ErrorCode::corrupt);
  EXPECT_THAT(error.what(), HasSubstr("QNCH"));
}

TEST(Frame, RefusesAnotherVersionByNumber) {
  FrameHeaderBytes raw = encode_header({.attempt = {}, .control_bytes = 1, .payload_bytes = 0});
  raw[4] = 9;
  const Error error = error_of(raw);
  EXPECT_EQ(error.code(), ErrorCode::refused);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("version 9"), HasSubstr("expected 1")));
}

TEST(Frame, RefusesLengthsOutOfBounds) {
  FrameHeaderBytes raw = encode_header({.attempt = {}, .control_bytes = 1000, .payload_bytes = 10});
  EXPECT_THAT(error_of(raw, {.control_bytes_max = 999}).what(),
              AllOf(HasSubstr("the message is 1000 bytes"), HasSubstr("1 to 999")));
  EXPECT_THAT(error_of(raw, {.payload_bytes_max = 0}).what(), HasSubstr("the payload is 10 bytes"));
  for (const std::size_t field : {12u, 16u}) {
    FrameHeaderBytes huge = raw;
    for (std::size_t i = 0; i < 4; ++i) huge[field + i] = 0xff;
    EXPECT_THAT(error_of(huge).what(), HasSubstr("4294967295 bytes"));
  }
  FrameHeaderBytes empty = raw;
  empty[12] = empty[13] = 0;
  EXPECT_THAT(error_of(empty).what(), HasSubstr("the message is 0 bytes"));
}

TEST(Frame, WritesNothingItWouldNotRead) {
  EXPECT_THROW(encode_header({.attempt = {}, .control_bytes = 0, .payload_bytes = 0}), Error);
  EXPECT_THROW(encode_header({.attempt = {}, .control_bytes = kMessageBytesMax + 1, .payload_bytes = 0}),
               Error);
  EXPECT_THROW(encode_header({.attempt = {}, .control_bytes = 1, .payload_bytes = kPayloadBytesMax + 1}),
               Error);
}

// 200,000 mutated and random headers: each is either refused with an Error or has fields within bounds
// that encode to the same bytes again.
TEST(Frame, SurvivesFuzzing) {
  std::mt19937_64 generator(42);
  const FrameBounds bounds{.control_bytes_max = 4096, .payload_bytes_max = 1 << 20};
  std::size_t taken = 0;
  for (int round = 0; round < 200'000; ++round) {
    FrameHeaderBytes raw =
        encode_header({.attempt = {static_cast<std::uint32_t>(generator())},
                       .control_bytes = static_cast<std::uint32_t>(1 + generator() % 4096),
                       .payload_bytes = static_cast<std::uint32_t>(generator() % (1 << 20))});
    const std::size_t changes = generator() % 4;
    for (std::size_t i = 0; i < changes; ++i)
      raw[generator() % raw.size()] = static_cast<std::uint8_t>(generator());
    try {
      const FrameHeader header = parse_header(raw, bounds);
      ASSERT_GE(header.control_bytes, 1u);
      ASSERT_LE(header.control_bytes, bounds.control_bytes_max);
      ASSERT_LE(header.payload_bytes, bounds.payload_bytes_max);
      ASSERT_EQ(encode_header(header), raw);
      ++taken;
    } catch (const Error& error) {
      ASSERT_TRUE(error.code() == ErrorCode::corrupt || error.code() == ErrorCode::refused);
    }
  }
  EXPECT_GT(taken, 50'000u);   // the unchanged quarter at least
  EXPECT_LT(taken, 180'000u);  // and changes are noticed
}

}  // namespace
}  // namespace quench::cluster
