// Perplexity against the reference logits of transformers, and its windows.
#include "worker/generate/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>

#include "schemas/error.h"
#include "tests/worker/model/model_fixtures.h"

namespace quench::worker {
namespace {

class PerplexityTest : public testing::Test {
 protected:
  PerplexityTest()
      : backend_(test::backend_of("", 2)),
        source_(open_model_directory(test::fixture("stories260k"))),
        transformer_(*backend_, *source_),
        reference_(test::read_reference(test::fixture("stories260k") / "reference.safetensors")) {}

  // The sum over the reference's own logits, in double.
  double reference_nll() const {
    double nll = 0;
    for (std::size_t t = 0; t + 1 < reference_.input_ids.size(); ++t) {
      const float* row = reference_.logits.data() + t * static_cast<std::size_t>(reference_.vocabulary);
      double mass = 0;
      for (std::int64_t v = 0; v < reference_.vocabulary; ++v) mass += std::exp(static_cast<double>(row[v]));
      nll += std::log(mass) - row[reference_.input_ids[t + 1]];
    }
    return nll;
  }

  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<WeightSource> source_;
  Transformer transformer_;
  test::Reference reference_;
};

TEST_F(PerplexityTest, IsTransformersOnOneWindow) {
  const auto length = static_cast<std::int64_t>(reference_.input_ids.size());
  const Perplexity found = measure_perplexity(transformer_, reference_.input_ids, length);
  EXPECT_EQ(found.tokens, static_cast<std::uint64_t>(length - 1));
  EXPECT_NEAR(found.nll, reference_nll() / static_cast<double>(length - 1), 1e-5);
  EXPECT_NEAR(found.perplexity, std::exp(found.nll), 1e-9);
}

// Each window starts anew, a rest that fills no window is left out, and pieces of a window change nothing.
TEST_F(PerplexityTest, IsTheMeanOverWholeWindows) {
  std::vector<std::int32_t> text;
  for (int i = 0; i < 24; ++i)
    text.insert(text.end(), reference_.input_ids.begin(), reference_.input_ids.end());
  const std::int64_t window = 300;
  ASSERT_GE(text.size(), 2u * 300);
  const std::size_t windows = text.size() / 300;
  double sum = 0;
  for (std::size_t i = 0; i < windows; ++i)
    sum += measure_perplexity(transformer_, std::span(text).subspan(i * 300, 300), window).nll;
  std::size_t calls = 0;
  const Perplexity all =
      measure_perplexity(transformer_, text, window, [&](std::size_t done, std::size_t of) {
        EXPECT_EQ(done, ++calls);
        EXPECT_EQ(of, windows);
      });
  EXPECT_EQ(calls, windows);
  EXPECT_EQ(all.tokens, windows * 299);
  EXPECT_NEAR(all.nll, sum / static_cast<double>(windows), 1e-12);
}

TEST_F(PerplexityTest, RefusesWhatItCannotScore) {
  const std::vector<std::int32_t> text(100, 5);
  EXPECT_THROW(measure_perplexity(transformer_, text, 101), Error);
  EXPECT_THROW(measure_perplexity(transformer_, text, 1), Error);
  EXPECT_THROW(measure_perplexity(transformer_, text, transformer_.positions_max() + 1), Error);
  EXPECT_THROW(measure_perplexity(transformer_, std::vector<std::int32_t>(100, 512), 50), Error);
}

}  // namespace
}  // namespace quench::worker
