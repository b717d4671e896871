// A process that fills a store until it is killed, for crash_test.cc. Usage: store_writer DIR SEED FD.
// Before each commit it writes nothing; after each it writes the commit's number (eight bytes) to FD,
// so that whatever the reader of FD has seen was acknowledged.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "tests/coordinator/store/store_workload.h"

int main(int argc, char** argv) {
  using namespace quench::coordinator;
  if (argc != 4) return 2;
  try {
    ArtifactStore store = ArtifactStore::open(argv[1], OpenMode::create);
    const std::uint64_t seed = std::strtoull(argv[2], nullptr, 10);
    const int pipe = std::atoi(argv[3]);
    for (std::uint64_t step = store.commit_number(); step < kWorkloadStepsMax; ++step) {
      const std::uint64_t number = apply_step(store, seed, step);
      if (write(pipe, &number, sizeof number) != sizeof number) return 3;
    }
  } catch (const quench::Error& error) {
    std::fprintf(stderr, "store_writer: %s\n", error.what());
    return 1;
  }
  return 0;
}
