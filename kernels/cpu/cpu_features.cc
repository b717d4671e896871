#include "kernels/cpu/cpu_features.h"

#include <cpuid.h>

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace quench::kernels {
namespace {

struct CpuidLeaf {
  std::uint32_t a = 0, b = 0, c = 0, d = 0;
};

CpuidLeaf cpuid(std::uint32_t leaf, std::uint32_t subleaf) {
  CpuidLeaf r;
  if (__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d) == 0) return {};
  return r;
}

constexpr bool bit(std::uint32_t word, int index) { return (word >> index & 1u) != 0; }

// The register state the OS saves on a context switch (XCR0); 0 when it does not use XSAVE.
std::uint64_t saved_state() {
  if (!bit(cpuid(1, 0).c, 27)) return 0;
  std::uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<std::uint64_t>(high) << 32 | low;
}

bool runs_scalar() { return true; }

bool runs_avx2() {
  const CpuidLeaf one = cpuid(1, 0), seven = cpuid(7, 0);
  const bool cpu =
      bit(one.c, 12) && bit(one.c, 28) && bit(one.c, 29) && bit(seven.b, 5);  // FMA, AVX, F16C, AVX2
  return cpu && (saved_state() & 0x6) == 0x6;
}

bool runs_avx512() {
  const CpuidLeaf seven = cpuid(7, 0);
  const bool cpu =
      bit(seven.b, 16) && bit(seven.b, 17) && bit(seven.b, 30) && bit(seven.b, 31);  // F, DQ, BW, VL
  return cpu && runs_avx2() && (saved_state() & 0xe6) == 0xe6;
}

bool has_bf16() { return bit(cpuid(7, 1).a, 5); }
bool has_vnni() { return bit(cpuid(7, 0).c, 11); }

// Products of two values a word, of magnitudes from 2^-57 to 2^6, that cancel; sums that stand between two floats.
bool bf16_is_two_multiply_adds() {
  constexpr std::int64_t rows = 2, panels = 2, words = 96, columns = 2 * words;
  const auto compare = [] {
    KernelTable plain{}, instruction{};
    avx512::fill_brain_dot(plain);
    avx512::fill_brain_dot_bf16(instruction);
    std::uint32_t state = 1;
    const auto value = [&] {
      state = state * 1664525u + 1013904223u;
      const std::uint32_t wide = 70 + state / 67108864u, narrow = 125 + (state >> 28) % 4;  // exponents
      return std::bit_cast<float>((state & 0x80000000u) | ((state >> 8) % 3 == 0 ? wide : narrow) << 23 | (state & 0x7f0000u));
    };
    std::array<float, rows * columns> x;
    std::array<float, panels * columns * 16> weights;
    for (float& one : x) one = value();
    for (float& one : weights) one = value();
    std::array<std::uint16_t, rows * columns> rounded;
    std::array<std::uint32_t, rows * words> packed;
    const std::array<float, rows> sums{};
    const BrainSegment segment{0, words, 0};
    BrainBlock block;
    block.x = packed.data();
    block.sums = sums.data();
    block.segments = &segment;
    block.segment_count = 1;
    block.lines = words;
    block.words_per_line = 1;
    block.groups = 1;
    block.weight.rows = panels * 16;
    block.weight.cols = columns;
    block.weight.panels = weights.data();
    block.panel_end = panels;
    block.y_stride = panels * 16;
    alignas(64) std::array<std::uint32_t, words * panels * 16> scratch;
    block.scratch = scratch.data();
    std::array<float, rows * panels * 16> y[2];
    for (block.rows = 1; block.rows <= rows; ++block.rows) {
      plain.brain_row(x.data(), block.rows * columns, rounded.data());
      for (std::int64_t word = 0; word < words; ++word)
        for (std::int64_t row = 0; row < block.rows; ++row) {
          const std::uint16_t* pair = rounded.data() + row * columns + 2 * word;
          packed[static_cast<std::size_t>(word * block.rows + row)] = pair[0] | static_cast<std::uint32_t>(pair[1]) << 16;
        }
      for (int which = 0; which < 2; ++which) {
        block.y = y[which].data();
        (which == 0 ? plain : instruction).brain_block(block);
      }
      if (std::memcmp(y[0].data(), y[1].data(), static_cast<std::size_t>(block.rows * panels * 16) * sizeof(float)) != 0) return false;
    }
    return true;
  };
  static const bool same = compare();
  return same;
}

void fill_scalar(KernelTable& table) {
  scalar::fill_gemm(table);
  scalar::fill_packed_gemv(table);
  scalar::fill_integer_dot(table);
  scalar::fill_brain_dot(table);
  scalar::fill_attention(table);
  scalar::fill_elementwise(table);
  scalar::fill_hessian(table);
  scalar::fill_gptq(table);
}
void fill_avx2(KernelTable& table) {
  avx2::fill_gemm(table);
  avx2::fill_packed_gemv(table);
  avx2::fill_integer_dot(table);
  avx2::fill_brain_dot(table);
  avx2::fill_attention(table);
  avx2::fill_elementwise(table);
  avx2::fill_hessian(table);
  avx2::fill_gptq(table);
}
void fill_avx512(KernelTable& table) {
  avx512::fill_gemm(table);
  avx512::fill_packed_gemv(table);
  avx512::fill_integer_dot(table);
  avx512::fill_brain_dot(table);
  avx512::fill_attention(table);
  avx512::fill_elementwise(table);
  avx512::fill_hessian(table);
  avx512::fill_gptq(table);
  if (has_vnni()) avx512::fill_integer_dot_vnni(table);  // the same numbers, twice as fast
  if (has_bf16() && bf16_is_two_multiply_adds()) avx512::fill_brain_dot_bf16(table);
}

constexpr std::array<IsaEntry, 3> kPriority{{
    {"avx512", runs_avx512, fill_avx512},
    {"avx2", runs_avx2, fill_avx2},
    {"scalar", runs_scalar, fill_scalar},
}};

}  // namespace

std::span<const IsaEntry> isa_priority_list() { return kPriority; }

std::string_view bf16_products(const KernelTable& table) {
  if (!runs_avx512() || !has_bf16()) return "fused multiply-adds (this machine has no AVX512-BF16)";
  KernelTable instruction{};
  avx512::fill_brain_dot_bf16(instruction);
  if (table.brain_block == instruction.brain_block) return kBf16Instruction;
  if (!bf16_is_two_multiply_adds()) return "fused multiply-adds (this machine's AVX512-BF16 gives other bits)";
  return "fused multiply-adds (AVX512-BF16 is not of the instruction set that was asked for)";
}

KernelTable make_kernel_table(std::string_view name) {
  KernelTable table{};
  fill_scalar(table);
  for (const IsaEntry& entry : kPriority) {
    if (entry.name != name) continue;
    table.name = entry.name.data();
    entry.overwrite(table);
  }
  return table;
}

}  // namespace quench::kernels
