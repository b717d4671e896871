// The GPTQ format's words against a bit-by-bit reading of them.
#include <gtest/gtest.h>

#include <random>

#include "coordinator/export/gptq.h"

namespace quench::coordinator {
namespace {

TEST(GptqPack, EveryCodeIsWhereTheFormatSaysBitByBit) {
  std::mt19937 random(1);
  for (const std::uint32_t bits : {2u, 3u, 4u, 8u}) {
    std::vector<std::uint32_t> codes(96);
    for (std::uint32_t& code : codes) code = random() & ((1u << bits) - 1);
    const std::vector<std::uint32_t> words = pack_bits(codes, bits);
    ASSERT_EQ(words.size(), codes.size() * bits / 32);
    for (std::size_t i = 0; i < codes.size(); ++i)
      for (std::uint32_t bit = 0; bit < bits; ++bit) {
        const std::size_t at = i * bits + bit;
        EXPECT_EQ(words[at / 32] >> (at % 32) & 1, codes[i] >> bit & 1) << bits << " bits, code " << i;
      }
  }
}

}  // namespace
}  // namespace quench::coordinator
