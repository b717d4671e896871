// Seeded mutations of valid input: a decoder either refuses with an Error or gives a value that encodes.
// Anything else (another exception, a crash, a sanitizer's report) fails. A failing seed replays alone.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "schemas/codec.h"
#include "schemas/error.h"
#include "schemas/model_config.h"
#include "schemas/safetensors.h"
#include "tests/schemas/random_values.h"

namespace quench {
namespace {

constexpr std::uint64_t kRounds = 3000;

// Flips bits, overwrites words and texts' bytes, cuts, doubles or inserts pieces.
Bytes mutated(Bytes bytes, RandomFiller& random, bool whole_words) {
  const std::uint64_t changes = 1 + random.below(6);
  for (std::uint64_t i = 0; i < changes && !bytes.empty(); ++i) {
    const auto at = static_cast<std::ptrdiff_t>(random.below(bytes.size()));
    const auto step = static_cast<std::size_t>(whole_words ? 8 : 1);
    const auto aligned = at / static_cast<std::ptrdiff_t>(step) * static_cast<std::ptrdiff_t>(step);
    switch (random.below(6)) {
      case 0:
        bytes[static_cast<std::size_t>(at)] ^= static_cast<std::uint8_t>(1u << random.below(8));
        break;
      case 1:
        bytes[static_cast<std::size_t>(at)] = static_cast<std::uint8_t>(random.below(256));
        break;
      case 2:
        bytes[static_cast<std::size_t>(at)] = random.below(2) != 0 ? 0xff : 0;
        break;
      case 3:
        bytes.resize(static_cast<std::size_t>(aligned));
        break;
      case 4:
        bytes.insert(bytes.begin() + aligned, step, static_cast<std::uint8_t>(random.below(256)));
        break;
      default: {
        const Bytes piece(bytes.begin() + aligned, bytes.end());
        bytes.insert(bytes.end(), piece.begin(), piece.end());
      }
    }
  }
  return bytes;
}

// Runs `decode` on mutations of what `make` gives; returns how many were refused.
template <typename Make, typename Decode>
std::uint64_t refused_of(bool whole_words, ErrorCode expected, Make&& make, Decode&& decode) {
  std::uint64_t refused = 0;
  for (std::uint64_t seed = 0; seed < kRounds; ++seed) {
    RandomFiller random(seed);
    const Bytes bytes = mutated(make(random), random, whole_words);
    try {
      decode(bytes);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), expected) << "seed " << seed << ": " << error.what();
      ++refused;
    } catch (const std::exception& exception) {
      ADD_FAILURE() << "seed " << seed << ": not an Error: " << exception.what();
    }
  }
  return refused;
}

Bytes file_bytes(const std::string& name) {
  std::ifstream in(std::string(QUENCH_SOURCE_DIR) + "/tests/" + name, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  const std::string string = text.str();
  EXPECT_FALSE(string.empty()) << name;
  return Bytes(string.begin(), string.end());
}

std::string_view as_text(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(MutationFuzz, Messages) {
  const auto make = [](RandomFiller& random) {
    return encode(random.make_alternative<Message>(random.below(std::variant_size_v<Message>)));
  };
  const std::uint64_t refused =
      refused_of(true, ErrorCode::corrupt, make, [](const Bytes& bytes) { encode(decode_message(bytes)); });
  EXPECT_GT(refused, kRounds / 4);
  EXPECT_LT(refused, kRounds);
}

TEST(MutationFuzz, JournalEvents) {
  const auto make = [](RandomFiller& random) {
    return encode(random.make_alternative<JournalEvent>(random.below(std::variant_size_v<JournalEvent>)));
  };
  EXPECT_GT(refused_of(true, ErrorCode::corrupt, make,
                       [](const Bytes& bytes) { encode(decode_journal_event(bytes)); }),
            kRounds / 4);
}

TEST(MutationFuzz, Manifests) {
  const auto make = [](RandomFiller& random) {
    auto manifest = random.make<Manifest>();
    manifest.format_version = 1;
    return encode(manifest);
  };
  EXPECT_GT(refused_of(true, ErrorCode::corrupt, make,
                       [](const Bytes& bytes) { EXPECT_EQ(encode(decode_manifest(bytes)), bytes); }),
            kRounds / 4);
}

TEST(MutationFuzz, JobFiles) {
  const Bytes job = file_bytes("fixtures/jobs/full.json");
  EXPECT_GT(refused_of(
                false, ErrorCode::bad_input, [&](RandomFiller&) { return job; },
                [](const Bytes& bytes) {
                  const JobSpec parsed = parse_job(as_text(bytes), "job.json", "/base");
                  EXPECT_EQ(parse_job(job_to_json(parsed), "again.json", "/"), parsed);
                }),
            kRounds / 4);
}

TEST(MutationFuzz, ModelConfigs) {
  const Bytes config = file_bytes("fixtures/odd_llama/config.json");
  EXPECT_GT(refused_of(
                false, ErrorCode::bad_input, [&](RandomFiller&) { return config; },
                [](const Bytes& bytes) { parse_model_config(as_text(bytes), "config.json"); }),
            kRounds / 4);
}

TEST(MutationFuzz, SafetensorsHeaders) {
  const Bytes file = file_bytes("schemas/fixtures/python_written.safetensors");
  EXPECT_GT(refused_of(
                false, ErrorCode::bad_input, [&](RandomFiller&) { return file; },
                [](const Bytes& bytes) {
                  const auto header = parse_safetensors_header(bytes, bytes.size(), "w.safetensors");
                  for (const auto& [name, entry] : header.tensors)
                    ASSERT_TRUE(entry.file_offset <= bytes.size() &&
                                entry.bytes <= bytes.size() - entry.file_offset)
                        << name;
                }),
            kRounds / 4);
}

}  // namespace
}  // namespace quench
