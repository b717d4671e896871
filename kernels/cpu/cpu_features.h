// Which instruction sets this machine can run: the CPU's bit *and* the operating system's saved state.
#pragma once

#include <span>
#include <string_view>

#include "kernels/cpu/kernel_table.h"

namespace quench::kernels {

// One entry per instruction set, best first; the last ("scalar") always runs.
struct IsaEntry {
  std::string_view name;
  bool (*runs_here)();
  void (*overwrite)(KernelTable& table);
};
std::span<const IsaEntry> isa_priority_list();

// A full table: scalar, then overwritten by the named set. The name is on the list and runs here.
KernelTable make_kernel_table(std::string_view name);

// What the table multiplies bf16 with (Backend::bf16_products). The instruction is taken where the machine has it and it gives the
// bits of two fused multiply-adds: that is tried once on fixed numbers, because only the vendors' words promise it.
inline constexpr std::string_view kBf16Instruction = "AVX512-BF16";
std::string_view bf16_products(const KernelTable& table);

}  // namespace quench::kernels
