// Memory of this process as the kernel counts it.
#pragma once

#include <cstdint>

namespace quench::worker {

std::uint64_t resident_bytes();       // now; 0 where /proc cannot be read
std::uint64_t resident_peak_bytes();  // the most so far

}  // namespace quench::worker
