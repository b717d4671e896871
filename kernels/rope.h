// Rotary position embedding (rotate-half, as Hugging Face's Llama): tables of cos and sin.
#pragma once

#include <cstdint>

#include "kernels/tensor_view.h"

namespace quench::kernels {

// cos and sin, each [positions][head_dim / 2]. Immutable after building; safe from any thread.
struct RopeTable {
  std::int64_t positions = 0;
  std::int64_t head_dim = 0;
  AlignedBuffer<float> cosines;
  AlignedBuffer<float> sines;
};

// Frequency i is 1 / theta^(2i / head_dim) / linear_factor and the angle position * frequency, each
// rounded to fp32 where PyTorch rounds it (models are trained with those angles); powers, sines and
// cosines are ours, in double, rounded once to fp32, so that every machine has the same bits.
// head_dim is even, theta > 0, linear_factor > 0 (1: no scaling). Throws std::bad_alloc.
RopeTable rope_table(std::int64_t head_dim, double theta, double linear_factor, std::int64_t positions);

}  // namespace quench::kernels
