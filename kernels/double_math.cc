#include "kernels/double_math.h"

#include <cmath>
#include <cstdint>
#include <cstring>

namespace quench::kernels {
namespace {

constexpr double kLn2High = 0x1.62e42fefa39efp-1;
constexpr double kLn2Low = 0x1.abc9e3b39803fp-56;
constexpr double kHalfPiHigh = 0x1.921fb54442d18p+0;
constexpr double kHalfPiMiddle = 0x1.1a62633145c07p-54;
constexpr double kHalfPiLow = -0x1.f1976b8p-110;
// 1.5 * 2^52: adding it rounds to a whole number, which stays in the low bits.
constexpr double kRound = 6755399441055744.0;

double round_whole(double x) { return (x + kRound) - kRound; }

double power_of_two(std::int64_t exponent) {
  const std::uint64_t bits = static_cast<std::uint64_t>(exponent + 1023) << 52;
  double value;
  std::memcpy(&value, &bits, 8);
  return value;
}

}  // namespace

double exact_exp(double x) noexcept {
  const double n = round_whole(x / kLn2High);
  double r = std::fma(-n, kLn2High, x);
  r = std::fma(-n, kLn2Low, r);
  // Taylor to r^14 / 14!: |r| <= 0.347, the next term is below 1e-19.
  double sum = 1.0;
  for (int i = 14; i >= 1; --i) sum = std::fma(sum, r / i, 1.0);
  return sum * power_of_two(static_cast<std::int64_t>(n));
}

double exact_log(double x) noexcept {
  std::uint64_t bits;
  std::memcpy(&bits, &x, 8);
  std::int64_t exponent = static_cast<std::int64_t>(bits >> 52) - 1023;
  bits = (bits & 0x000fffffffffffffu) | 0x3ff0000000000000u;
  double m;
  std::memcpy(&m, &bits, 8);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  // log m = 2 (f + f^3/3 + f^5/5 + ...), f = (m-1)/(m+1), |f| <= 0.172: f^23/23 is below 2e-19.
  const double f = (m - 1.0) / (m + 1.0);
  const double square = f * f;
  double sum = 0.0;
  for (int i = 21; i >= 3; i -= 2) sum = std::fma(sum, square, 1.0 / i);
  const double series = 2.0 * std::fma(f * square, sum, f);
  const double e = static_cast<double>(exponent);
  return std::fma(e, kLn2High, std::fma(e, kLn2Low, series));
}

SineCosine exact_sine_cosine(double x) noexcept {
  const double n = round_whole(x / kHalfPiHigh);
  double r = std::fma(-n, kHalfPiHigh, x);
  r = std::fma(-n, kHalfPiMiddle, r);
  r = std::fma(-n, kHalfPiLow, r);
  // Taylor to r^19 and r^20: |r| <= 0.786, the next terms are below 2e-22.
  const double square = r * r;
  double sine = 1.0, cosine = 1.0;
  for (int i = 18; i >= 2; i -= 2) sine = std::fma(sine, -square / (i * (i + 1)), 1.0);
  for (int i = 19; i >= 1; i -= 2) cosine = std::fma(cosine, -square / (i * (i + 1)), 1.0);
  sine *= r;
  switch (static_cast<std::int64_t>(n) & 3) {
    case 0:
      return {sine, cosine};
    case 1:
      return {cosine, -sine};
    case 2:
      return {-sine, -cosine};
    default:
      return {-cosine, sine};
  }
}

}  // namespace quench::kernels
