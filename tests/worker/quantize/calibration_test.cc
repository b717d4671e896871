#include "worker/quantize/calibration.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "schemas/error.h"
#include "tests/support/processes.h"

namespace quench::worker {
namespace {

using testing::fixture;
using testing::ScratchDirectory;
using testing::write_text;

CalibrationSpec spec_of(const std::filesystem::path& file, std::uint32_t sequences, std::uint32_t length) {
  CalibrationSpec spec;
  spec.files = {file.string()};
  spec.sequences = sequences;
  spec.length = length;
  return spec;
}

TEST(Calibration, CutsDistinctWindowsOfTheTokenizedText) {
  const auto tokenizer = load_tokenizer(fixture("tiny_coder"));
  const auto file = fixture("calibration_python.txt");
  const CalibrationSet set = build_calibration(spec_of(file, 20, 64), *tokenizer);
  const std::vector<TokenId> all = tokenizer->encode(testing::read_text(file), AddSpecialTokens::no);
  ASSERT_EQ(set.sequences.size(), 20u);
  auto after = all.begin();
  for (const auto& sequence : set.sequences) {
    ASSERT_EQ(sequence.size(), 64u);
    // With enough text the windows follow each other without overlap.
    after = std::search(after, all.end(), sequence.begin(), sequence.end());
    ASSERT_NE(after, all.end());
    after += 64;
  }
}

TEST(Calibration, DependsOnItsSeedAndNothingElse) {
  const auto tokenizer = load_tokenizer(fixture("tiny_coder"));
  CalibrationSpec spec = spec_of(fixture("calibration_python.txt"), 4, 32);
  const Digest first = build_calibration(spec, *tokenizer).digest;
  EXPECT_EQ(build_calibration(spec, *tokenizer).digest, first);
  spec.seed = 1;
  EXPECT_NE(build_calibration(spec, *tokenizer).digest, first);
}

TEST(Calibration, ShortTextGivesOverlappingWindowsOrAClearError) {
  const auto tokenizer = load_tokenizer(fixture("tiny_coder"));
  const ScratchDirectory scratch;
  write_text(scratch / "text.py", "for i in range(10):\n    print(i)\n");
  const std::size_t tokens =
      tokenizer->encode(testing::read_text(scratch / "text.py"), AddSpecialTokens::no).size();
  const auto fits = static_cast<std::uint32_t>(tokens - 8 + 1);
  EXPECT_EQ(build_calibration(spec_of(scratch / "text.py", fits, 8), *tokenizer).sequences.size(), fits);
  try {
    build_calibration(spec_of(scratch / "text.py", fits + 1, 8), *tokenizer);
    FAIL() << "made more windows than there are";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_NE(std::string(error.what()).find("text.py"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find(std::to_string(tokens) + " tokens"), std::string::npos)
        << error.what();
  }
}

TEST(Calibration, SharesCoverAllSequencesEvenly) {
  for (const std::uint32_t world : {1u, 2u, 3u, 7u}) {
    std::uint32_t next = 0;
    for (std::uint32_t rank = 0; rank < world; ++rank) {
      const SequenceShare share = sequence_share(16, rank, world);
      EXPECT_EQ(share.begin, next);
      EXPECT_LE(share.count(), 16 / world + 1);
      next = share.end;
    }
    EXPECT_EQ(next, 16u);
  }
}

}  // namespace
}  // namespace quench::worker
