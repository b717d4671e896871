// Bytes that were never written by encode(): each is Error(corrupt), within the memory and time of a small
// message whatever it claims.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench {
namespace {

using testing::HasSubstr;

template <typename Decode>
void expect_corrupt(Decode&& decode, const std::string& part) {
  try {
    decode();
    FAIL() << "accepted; expected an error with \"" << part << "\"";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::corrupt) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(part));
  }
}

Bytes from_words(const std::vector<std::uint64_t>& words) {
  Bytes bytes(words.size() * 8);
  std::memcpy(bytes.data(), words.data(), bytes.size());
  return bytes;
}

constexpr std::uint64_t struct_pointer(std::uint64_t offset, std::uint64_t data_words,
                                       std::uint64_t pointers) {
  return offset << 2 | data_words << 32 | pointers << 48;
}
constexpr std::uint64_t list_pointer(std::uint64_t offset, std::uint64_t size_code, std::uint64_t count) {
  return 1 | offset << 2 | size_code << 32 | count << 35;
}

// A Manifest: format version 1 and six pointers (source, calibration, recipe, files, tensors, losses), of
// which only the last is set, to what follows.
std::vector<std::uint64_t> manifest_with_losses(std::uint64_t losses_pointer) {
  return {struct_pointer(0, 1, 6), 1, 0, 0, 0, 0, 0, losses_pointer};
}

TEST(HostileBytes, SizesThatAreNotWholeWords) {
  expect_corrupt([] { decode_message({}); }, "0 bytes");
  const Bytes seven(7);
  expect_corrupt([&] { decode_message(seven); }, "7 bytes is not a multiple of 8");
  Bytes cut = encode(Message{ChunkPut{sha256("x")}});
  cut.pop_back();
  expect_corrupt([&] { decode_message(cut); }, "not a multiple of 8");
}

TEST(HostileBytes, MessageAboveTheLimit) {
  const Bytes large(kMessageBytesMax + 8);
  expect_corrupt([&] { decode_message(large); }, "bytes is not a multiple of 8 between 8 and 8388608");
}

TEST(HostileBytes, EveryTruncationIsAnErrorOrAShorterValue) {
  Hello hello;
  hello.build = "a build name that takes several words";
  hello.host = "host";
  hello.proof = sha256("proof");
  const Bytes bytes = encode(Message{hello});
  for (std::size_t words = 1; words < bytes.size() / 8; ++words)
    expect_corrupt([&] { decode_message(std::span(bytes).first(words * 8)); }, "message: malformed message");
}

TEST(HostileBytes, UnknownAlternative) {
  // Message has one data word, whose first 16 bits choose the alternative, and one pointer.
  expect_corrupt(
      [] {
        decode_message(from_words({struct_pointer(0, 1, 1), 999, 0}));
      },
      "an alternative that this build does not know");
}

TEST(HostileBytes, UnknownEnumerant) {
  Refused refused;
  refused.code = ErrorCode::internal;
  Bytes bytes = encode(Message{refused});
  // Words: root pointer, alternative, pointer to Refused, Refused's data with the code in its first bytes.
  ASSERT_EQ(bytes[24], static_cast<std::uint8_t>(ErrorCode::internal));
  bytes[24] = 8;
  expect_corrupt([&] { decode_message(bytes); }, "field code: enum value 8 where fewer than 8 are known");
}

TEST(HostileBytes, DigestOfAnotherLength) {
  // Message(chunkPut = 8) with a ChunkPut whose digest has 5 bytes.
  expect_corrupt(
      [] {
        decode_message(from_words(
            {struct_pointer(0, 1, 1), 8, struct_pointer(0, 0, 1), list_pointer(0, 2, 5), 0x0504030201}));
      },
      "field digest: a digest of 5 bytes instead of 32");
}

TEST(HostileBytes, ChunkAboveTheLimit) {
  OuterDone done;
  done.files = {{"config.json", {sha256("x"), kChunkBytesMax + 1}}};
  expect_corrupt([&] { decode_message(encode(Message{done})); },
                 "a chunk of 16777217 bytes; the limit is 16777216");
}

TEST(HostileBytes, PointerBeyondTheMessage) {
  expect_corrupt([] { decode_manifest(from_words(manifest_with_losses(list_pointer(1000, 2, 8)))); },
                 "malformed message");
}

TEST(HostileBytes, PointerIntoAnotherSegment) {
  expect_corrupt([] { decode_manifest(from_words(manifest_with_losses(2 | 1ull << 32))); },
                 "malformed message");
}

// 2^29 structs of no size take no bytes in the message but would take 25 GB as values.
TEST(HostileBytes, ListOfEmptyStructs) {
  std::vector<std::uint64_t> words = manifest_with_losses(list_pointer(0, 7, 0));
  words.push_back(struct_pointer((1ull << 29) - 1, 0, 0));
  expect_corrupt([&] { decode_manifest(from_words(words)); }, "malformed message");
}

// Cap'n Proto reads a list of bytes as a list of structs of one byte each: eight values per word.
TEST(HostileBytes, ListOfBytesAsStructs) {
  std::vector<std::uint64_t> words = manifest_with_losses(list_pointer(0, 2, 8 * 10'000));
  words.resize(words.size() + 10'000);
  expect_corrupt([&] { decode_manifest(from_words(words)); },
                 "field losses: more list elements than its bytes can hold");
}

// A hundred pointers to one text: a hundred copies as values.
TEST(HostileBytes, AliasedPointers) {
  constexpr std::uint64_t kAliases = 1000, kTextWords = 1000;
  // Message(storeCommand = 25), StoreCommand with one pointer to a list of texts.
  std::vector<std::uint64_t> words = {struct_pointer(0, 1, 1), 25, struct_pointer(0, 0, 1),
                                      list_pointer(0, 6, kAliases)};
  for (std::uint64_t i = 0; i < kAliases; ++i)
    words.push_back(list_pointer(kAliases - 1 - i, 2, 8 * kTextWords));
  words.resize(words.size() + kTextWords);
  expect_corrupt([&] { decode_message(from_words(words)); }, "malformed message");
}

TEST(HostileBytes, ManifestThatIsNotCanonical) {
  Bytes bytes = encode(Manifest{});
  ASSERT_NO_THROW(decode_manifest(bytes));
  bytes.resize(bytes.size() + 8);
  expect_corrupt([&] { decode_manifest(bytes); }, "not the canonical form");
}

}  // namespace
}  // namespace quench
