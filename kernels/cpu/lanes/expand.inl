// Weights of any format as fp32 lanes. Included by gemm.inl and packed_gemv.inl after a lanes.h.
//
// A code c becomes a float without a conversion: shifted to bit `position` of the mantissa of M = 2^(23 - position) it
// makes the float M + c. Then w = (c - zero) * scale is one fused operation: fma(M + c, scale, -(M + zero) * scale).
// Nothing in it rounds: a scale is an fp16 with 11 bits and M + zero has at most 12, so the constant is exact, and so
// is w, whose factors have 9 and 11 bits. A scale is positive and finite.

namespace quench::kernels::QUENCH_ISA {
namespace {

template <int Bits> struct Packing;
template <> struct Packing<8> { static constexpr int columns = 4, bytes = 64, position = 12; };
template <> struct Packing<4> { static constexpr int columns = 8, bytes = 64, position = 16; };
template <> struct Packing<2> { static constexpr int columns = 16, bytes = 64, position = 12; };
template <> struct Packing<3> { static constexpr int columns = 32, bytes = 192, position = 12; };

template <int Bits> constexpr std::int32_t kMagicBits = (127 + 23 - Packing<Bits>::position) << 23;
template <int Bits> constexpr std::int32_t kCodeMask = ((1 << Bits) - 1) << Packing<Bits>::position;

struct Grid { F scale, bias; };

template <int Bits>
QUENCH_INLINE Grid load_grid(const WeightView& w, std::int64_t panel, std::int64_t groups, std::int64_t group) {
  constexpr float magic = static_cast<float>(1 << (23 - Packing<Bits>::position));
  const std::int64_t at = (panel * groups + group) * 16;
  const F scale = load_f16(w.scales + at);
  return {scale, mul(sub(zero(), add(load_u8(w.zeros + at), set1(magic))), scale)};
}

QUENCH_INLINE F dequantize_code(F magic_and_code, Grid grid) { return fma(magic_and_code, grid.scale, grid.bias); }

template <int From, int To> QUENCH_INLINE I moved(I x) {
  if constexpr (From < To) return shift_left<To - From>(x);
  else if constexpr (From > To) return shift_right<From - To>(x);
  else return x;
}

// M + code J of a line; J is known at compile time, so this is a shift, an and, an or.
template <int Bits, int J> QUENCH_INLINE F code_at(const std::uint8_t* line) {
  constexpr int position = Packing<Bits>::position;
  const I magic = int_set1(kMagicBits<Bits>);
  if constexpr (Bits == 3) {
    const I low_bits = int_and(moved<2 * (J % 16), position>(int_load(line + (J / 16) * 64)), int_set1(3 << position));
    const I high_bit = int_and(moved<J, position + 2>(int_load(line + 128)), int_set1(1 << (position + 2)));
    return as_float(int_or(int_or(low_bits, high_bit), magic));
  } else {
    return as_float(int_or(int_and(moved<Bits * J, position>(int_load(line)), int_set1(kCodeMask<Bits>)), magic));
  }
}

// The same with J known only at run time, for the ragged ends of groups.
template <int Bits> QUENCH_INLINE F code_at(const std::uint8_t* line, int j) {
  const auto field = [](I x, int at, int bits) {
    return int_and(shift_right(x, at), int_set1((1 << bits) - 1));
  };
  I code;
  if constexpr (Bits == 3) {
    code = int_or(field(int_load(line + (j / 16) * 64), 2 * (j % 16), 2),
                  shift_left<2>(field(int_load(line + 128), j, 1)));
  } else {
    code = field(int_load(line), Bits * j, Bits);
  }
  return as_float(int_or(shift_left<Packing<Bits>::position>(code), int_set1(kMagicBits<Bits>)));
}

// Calls take(J, M + code J) for a whole line with J rising at compile time. Codes of four bits come in pairs, four
// codes apart: their magic numbers are the halves of one word.
template <int Bits, int J = 0, typename Take> QUENCH_INLINE void for_codes(const std::uint8_t* line, const Take& take) {
  if constexpr (Bits == 4) {
    const I word = int_load(line);
    const I mask = int_set1(0x000f000f), magic = int_set1(0x43004300), upper = int_set1(-0x10000);
    const I pairs[4] = {int_or(int_and(word, mask), magic), int_or(int_and(shift_right<4>(word), mask), magic),
                        int_or(int_and(shift_right<8>(word), mask), magic),
                        int_or(int_and(shift_right<12>(word), mask), magic)};
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) take(j, as_float(shift_left<16>(pairs[j])));
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) take(4 + j, as_float(int_and(pairs[j], upper)));
  } else if constexpr (J < Packing<Bits>::columns) {
    take(J, code_at<Bits, J>(line));
    for_codes<Bits, J + 1>(line, take);
  }
}

}  // namespace
}  // namespace quench::kernels::QUENCH_ISA
