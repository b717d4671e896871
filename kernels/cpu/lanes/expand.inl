// Weights of any format as fp32 lanes. Included by gemm.inl and packed_gemv.inl after a lanes.h.
//
// A code c becomes a float without a conversion: c | 0x4b000000 is the float 2^23 + c, and taking
// 2^23 + zero from it is exact, so w = (c - zero) * scale has one rounding, that of the product.

namespace quench::kernels::QUENCH_ISA {
namespace {

constexpr std::int32_t kMagicBits = 0x4b000000;
constexpr float kMagic = 8388608.0f;

template <int Bits> struct Packing;
template <> struct Packing<8> { static constexpr int columns = 4, bytes = 64; };
template <> struct Packing<4> { static constexpr int columns = 8, bytes = 64; };
template <> struct Packing<2> { static constexpr int columns = 16, bytes = 64; };
template <> struct Packing<3> { static constexpr int columns = 32, bytes = 192; };

struct Grid { F scale, zero; };

QUENCH_INLINE Grid load_grid(const WeightView& w, std::int64_t panel, std::int64_t groups, std::int64_t group) {
  const std::int64_t at = (panel * groups + group) * 16;
  return {load_f16(w.scales + at), add(load_u8(w.zeros + at), set1(kMagic))};
}

QUENCH_INLINE F dequantize_code(I code, Grid grid) {
  return mul(sub(as_float(int_or(code, int_set1(kMagicBits))), grid.zero), grid.scale);
}

// Code J of a line; J is known at compile time, so this is a shift, an and.
template <int Bits, int J> QUENCH_INLINE I code_at(const std::uint8_t* line) {
  if constexpr (Bits == 3) {
    const I low = int_load(line + (J / 16) * 64);
    const I high = int_load(line + 128);
    const I low_bits = int_and(shift_right<2 * (J % 16)>(low), int_set1(3));
    const I high_bit = int_and(shift_right<J>(high), int_set1(1));
    return int_or(low_bits, shift_left<2>(high_bit));
  } else {
    return int_and(shift_right<Bits * J>(int_load(line)), int_set1((1 << Bits) - 1));
  }
}

// The same with J known only at run time, for the ragged ends of groups.
template <int Bits> QUENCH_INLINE I code_at(const std::uint8_t* line, int j) {
  if constexpr (Bits == 3) {
    const I low_bits = int_and(shift_right(int_load(line + (j / 16) * 64), 2 * (j % 16)), int_set1(3));
    const I high_bit = int_and(shift_right(int_load(line + 128), j), int_set1(1));
    return int_or(low_bits, shift_left<2>(high_bit));
  } else {
    return int_and(shift_right(int_load(line), Bits * j), int_set1((1 << Bits) - 1));
  }
}

}  // namespace
}  // namespace quench::kernels::QUENCH_ISA
