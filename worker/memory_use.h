// Memory of this process as the kernel counts it.
#pragma once

#include <cstdint>

namespace quench::worker {

// From here on buffers of 1 MiB and more go back to the kernel when they are freed. glibc by itself keeps what is smaller than
// the largest buffer freed so far, and then loading block after block holds 2.2 blocks and not 1.2. Call once, early.
void return_large_buffers();

std::uint64_t resident_bytes();       // now; 0 where /proc cannot be read
std::uint64_t resident_peak_bytes();  // the most so far

}  // namespace quench::worker
