// Tests of products of bf16: the backend with them, and the rounding written down once more.
#pragma once

#include <bit>
#include <cmath>

#include "tests/kernels/backend_fixture.h"

namespace quench::kernels {

class BrainTest : public BackendTest {
 protected:
  void SetUp() override {
    BackendTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (on_cpu()) {
      ASSERT_TRUE(backend->set_products(Products::bf16) && reference->set_products(Products::bf16));
      return;
    }
    // A GPU has none, says so and stays as it is.
    EXPECT_FALSE(backend->set_products(Products::bf16));
    EXPECT_TRUE(backend->set_products(Products::fp32));
    GTEST_SKIP() << backend->name() << " has no products of bf16";
  }
};

// To the nearest bf16.
inline float rounded(float x) {
  if (std::isnan(x)) return x;
  if (std::fabs(x) < 0x1p-56f) return 0;
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u);
}

}  // namespace quench::kernels
