// `quench calibration`: build, ls, show. What only reads runs at the store's owner, as `quench artifacts`
// does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "coordinator/store/artifact_store.h"

namespace quench::coordinator {

struct BuildSetArguments {
  std::string kind;
  std::vector<std::string> from;
  std::string tokenizer;  // a model's directory
  std::uint32_t sequences = 1024;
  std::uint32_t length = 4096;
  std::uint64_t seed = 0;
  std::uint32_t files_per_repository = 1;
  std::int32_t score_min = 10;
  std::string name;  // empty: calibration/MODEL-KIND-SEQUENCESxLENGTH-seedSEED
  std::filesystem::path store;
  bool json = false;
};
int build_calibration(const BuildSetArguments& arguments);

// ls, show REF, and, for `build`, adopt; on an open store. Throws Error.
int run_calibration_command(ArtifactStore& store, const std::vector<std::string>& arguments,
                            std::string& out);

}  // namespace quench::coordinator
