// Moving artifacts and calibration sets between two stores of one file system: only the chunks that the other
// side lacks, each checked against its digest on the way, and all of it published there in one commit.
#pragma once

#include <cstdint>
#include <string>

#include "coordinator/store/artifact_store.h"

namespace quench::coordinator {

struct Transferred {
  Digest digest;
  std::string name;          // it has over there
  std::uint64_t chunks = 0;  // of the manifests
  std::uint64_t chunks_copied = 0;
  std::uint64_t bytes_copied = 0;
};

// Copies what `ref` means in `from` to `to`, under `name` (empty: the name it has; a digest alone gives none,
// so one must be given). With a model go the run records that tell how it was made, and its calibration set,
// where `from` has it, under the set's own names that are free over there. Throws Error(bad_input) when
// `name` is that of something else in `to`: nobody's name is taken away.
Transferred transfer(const ArtifactStore& from, ArtifactStore& to, const std::string& ref,
                     const std::string& name, std::uint64_t now_ms);

}  // namespace quench::coordinator
