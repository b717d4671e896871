// fp16 and bf16 as bits, and their roundings (to nearest, ties to even).
#pragma once

#include <cstdint>

namespace quench::coordinator {

float f16_to_f32(std::uint16_t bits) noexcept;
float bf16_to_f32(std::uint16_t bits) noexcept;
std::uint16_t f32_to_f16(float value) noexcept;
std::uint16_t f32_to_bf16(float value) noexcept;

}  // namespace quench::coordinator
