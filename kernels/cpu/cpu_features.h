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

// Whether the table's products of bf16 are one instruction: the machine must have it and it must give the bits of two fused
// multiply-adds, which is tried once on fixed numbers because only the vendors' words promise it.
bool uses_bf16_instruction(const KernelTable& table);

}  // namespace quench::kernels
