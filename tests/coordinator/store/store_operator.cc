// A process that does everything a store can be asked for, for fault_test.cc. Usage: store_operator DIR FIRST FD
// After each step it writes the number of steps done (eight bytes) to FD: what the reader has seen was acknowledged.
// FIRST: steps that were done before; "open": only opens the store for writing and closes it.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/coordinator/store/fault_workload.h"

int main(int argc, char** argv) {
  using namespace quench::coordinator;
  if (argc != 4) return 2;
  try {
    ArtifactStore store = ArtifactStore::open(argv[1], OpenMode::create);
    const int pipe = std::atoi(argv[3]);
    std::uint64_t step = std::strtoull(argv[2], nullptr, 10);
    if (write(pipe, &step, sizeof step) != sizeof step) return 3;
    if (std::strcmp(argv[2], "open") == 0) return 0;
    while (step < kFaultStepsMax) {
      apply_fault_step(store, step++);
      if (write(pipe, &step, sizeof step) != sizeof step) return 3;
    }
  } catch (const quench::Error& error) {
    std::fprintf(stderr, "store_operator: %s\n", error.what());
    return 1;
  }
  return 0;
}
