#include "kernels/cpu/cpu_features.h"

#include <cpuid.h>

#include <array>
#include <cstdint>

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

bool has_vnni() { return bit(cpuid(7, 0).c, 11); }

void fill_scalar(KernelTable& table) {
  scalar::fill_gemm(table);
  scalar::fill_packed_gemv(table);
  scalar::fill_integer_dot(table);
  scalar::fill_attention(table);
  scalar::fill_elementwise(table);
  scalar::fill_hessian(table);
  scalar::fill_gptq(table);
}
void fill_avx2(KernelTable& table) {
  avx2::fill_gemm(table);
  avx2::fill_packed_gemv(table);
  avx2::fill_integer_dot(table);
  avx2::fill_attention(table);
  avx2::fill_elementwise(table);
  avx2::fill_hessian(table);
  avx2::fill_gptq(table);
}
void fill_avx512(KernelTable& table) {
  avx512::fill_gemm(table);
  avx512::fill_packed_gemv(table);
  avx512::fill_integer_dot(table);
  avx512::fill_attention(table);
  avx512::fill_elementwise(table);
  avx512::fill_hessian(table);
  avx512::fill_gptq(table);
  if (has_vnni()) avx512::fill_integer_dot_vnni(table);  // the same numbers, twice as fast
}

constexpr std::array<IsaEntry, 3> kPriority{{
    {"avx512", runs_avx512, fill_avx512},
    {"avx2", runs_avx2, fill_avx2},
    {"scalar", runs_scalar, fill_scalar},
}};

}  // namespace

std::span<const IsaEntry> isa_priority_list() { return kPriority; }

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
