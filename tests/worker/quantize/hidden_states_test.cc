#include "worker/quantize/hidden_states.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/processes.h"

namespace quench::worker {
namespace {

using testing::ScratchDirectory;

TEST(HiddenStates, KeepsTwoBoundariesAndFindsTheLatestWholeOne) {
  const ScratchDirectory scratch;
  HiddenStates states(scratch / "h", sha256("job"));
  std::vector<float> values(12), read(12);
  const kernels::MatrixView view(values.data(), 3, 4), into(read.data(), 3, 4);
  for (std::uint32_t block = 1; block <= 4; ++block) {
    std::fill(values.begin(), values.end(), static_cast<float>(block));
    states.save(block, 9, view);
    states.keep_two(block, 9);
  }
  EXPECT_EQ(states.load_latest(5, 9, into), 4u);
  EXPECT_EQ(read[0], 4.0f);
  EXPECT_EQ(states.load_latest(3, 9, into), 3u);
  EXPECT_EQ(read[11], 3.0f);
  EXPECT_EQ(states.load_latest(2, 9, into), std::nullopt);
  EXPECT_EQ(states.load_latest(5, 8, into), std::nullopt);
}

TEST(HiddenStates, TornChangedAndForeignFilesAreNotThere) {
  const ScratchDirectory scratch;
  HiddenStates states(scratch / "h", sha256("job"));
  std::vector<float> values(12, 1.5f), read(12);
  const kernels::MatrixView view(values.data(), 3, 4), into(read.data(), 3, 4);
  states.save(1, 0, view);
  EXPECT_EQ(HiddenStates(scratch / "h", sha256("other job")).load_latest(1, 0, into), std::nullopt);
  const auto file = scratch / "h" / "sequence-0-block-1";
  const std::string bytes = testing::read_text(file);
  for (const std::size_t length : {std::size_t{0}, std::size_t{40}, bytes.size() - 1}) {
    testing::write_text(file, bytes.substr(0, length));
    EXPECT_EQ(states.load_latest(1, 0, into), std::nullopt) << length;
  }
  std::string changed = bytes;
  changed.back() ^= 1;
  testing::write_text(file, changed);
  EXPECT_EQ(states.load_latest(1, 0, into), std::nullopt);
  testing::write_text(file, bytes);
  EXPECT_EQ(states.load_latest(1, 0, into), 1u);
}

}  // namespace
}  // namespace quench::worker
