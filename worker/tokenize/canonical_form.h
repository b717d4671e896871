// Unicode's Normalization Form C (canonical decomposition, then composition), which Qwen's tokenizers ask for. Pure, any thread.
#pragma once

#include <string>

namespace quench::worker {

// `text` is well-formed UTF-8. O(n log n) in the longest run of combining characters.
std::string canonical_composition(std::string text);

}  // namespace quench::worker
