// gzip as benchmarks' files are published. Reads hostile bytes; any thread.
#pragma once

#include <string>
#include <string_view>

namespace quench::worker {

// The content of `bytes` when they are a gzip file, the bytes themselves otherwise. Throws
// Error(bad_input) for a damaged file and for content above 4 GiB.
std::string unpacked(std::string_view bytes);

}  // namespace quench::worker
