// How far the "cuda" backend's results may be from the exact product or sum; every other operation of it, and all of
// "cuda-exact", has the CPU's bits. With S = Σ |a_k b_k| over the terms of one result:
//
//   |result - exact| <= bound * S
//
// Each bound is the sum of what the operands lose when rounded and what fp32 sums of n terms lose, n * 2^-24 at worst.
// The tests (tests/kernels/cuda_tensor_test.cc) check it for every element.
#pragma once

#include <cstdint>

namespace quench::kernels {

// TF32 keeps 11 bits: each operand is off by 2^-11 at most (tensor cores may truncate), a product by 2^-10.
inline constexpr double kTf32ProductError = 0x1p-10;
// Decoding (up to 16 rows of x): codes and zeros are exact, a group's scale is applied once to its sum.
inline constexpr double kSlicedProductError = 0.0;
// Hessian leaves: two bf16 for each factor leave 2^-17 of it (half a unit of the second's last place), and the
// product of the two second parts, 2^-18, is left out.
inline constexpr double kSplitLeafError = 0x1p-16 + 0x1p-18;

// What summing n terms in fp32 in any order adds. Tensor cores align the terms of a step and cut off below 2^-23 of the
// largest, which one more bit covers.
constexpr double sum_error(std::int64_t terms) { return static_cast<double>(terms) * 0x1p-23; }

}  // namespace quench::kernels
