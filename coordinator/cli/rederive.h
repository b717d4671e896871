// `quench artifacts verify --rederive REF`: runs the recipe of an artifact again, in a store of its own, and compares
// digests. Quantization is reproducible to the bit, so anything but the same digest means that the artifact is not
// what its record says.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace quench::coordinator {

struct RederiveArguments {
  std::string ref;
  std::filesystem::path store;
  std::filesystem::path model;    // empty: where the job had it
  std::filesystem::path scratch;  // empty: the system's directory for temporary files
  std::uint32_t ranks = 1;
  std::uint32_t blocks = 0;  // only so many blocks, each after replaying what precedes it; 0: the whole recipe
  std::uint64_t seed = 0;    // draws the blocks
  bool json = false;
};

// Whether `words` (after `artifacts`) are this command, which must not run at the store's owner: it takes as long as quantizing.
bool is_rederive(const std::vector<std::string>& words);
RederiveArguments parse_rederive(const std::filesystem::path& store, const std::vector<std::string>& words);

// 0: the same digest. 2, untrusted: the recipe gives something else. 4, unverifiable: it cannot be run here (the model is
// another one or gone, the job is not known).
int rederive(const RederiveArguments& arguments);

}  // namespace quench::coordinator
