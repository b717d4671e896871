#include "kernels/double_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/rope.h"

namespace quench::kernels {
namespace {

TEST(DoubleMath, AgreesWithTheSystemWithinAFewUnits) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> wide(-600.0, 600.0), angle(-1e5, 1e5), exponent(-300.0, 300.0);
  for (int i = 0; i < 20000; ++i) {
    const double x = wide(random);
    ASSERT_NEAR(exact_exp(x) / std::exp(x), 1.0, 1e-15) << x;
    const double a = angle(random);
    const SineCosine value = exact_sine_cosine(a);
    ASSERT_NEAR(value.sine, std::sin(a), 3e-16) << a;
    ASSERT_NEAR(value.cosine, std::cos(a), 3e-16) << a;
    const double y = std::pow(10.0, exponent(random));
    ASSERT_NEAR(exact_log(y), std::log(y), 4e-16 * std::max(1.0, std::abs(std::log(y)))) << y;
  }
  EXPECT_EQ(exact_exp(0.0), 1.0);
  EXPECT_EQ(exact_log(1.0), 0.0);
  EXPECT_EQ(exact_sine_cosine(0.0).cosine, 1.0);
}

TEST(RopeTable, HasTheAnglesOfTheModelWithinOneRounding) {
  const RopeTable table = rope_table(40, 10000.0, 4.0, 300);
  for (std::int64_t p = 0; p < 300; ++p) {
    for (std::int64_t i = 0; i < 20; ++i) {
      const double angle =
          static_cast<double>(p) / 4.0 * std::pow(10000.0, -2.0 * static_cast<double>(i) / 40.0);
      // Three fp32 roundings of the angle (frequency, factor, product), one of the result.
      const double bound = 2.5e-7 * angle + 6e-8;
      ASSERT_NEAR(table.cosines[static_cast<std::size_t>(p * 20 + i)], std::cos(angle), bound);
      ASSERT_NEAR(table.sines[static_cast<std::size_t>(p * 20 + i)], std::sin(angle), bound);
    }
  }
}

}  // namespace
}  // namespace quench::kernels
