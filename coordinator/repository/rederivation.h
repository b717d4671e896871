// What it takes to make an artifact again, read from the records of the job that made it. The making is
// cli/rederive's: it runs the job in a store of its own and compares.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/store/artifact_store.h"
#include "schemas/artifact.h"
#include "schemas/job_spec.h"

namespace quench::coordinator {

struct Rederivation {
  Digest digest;
  Manifest manifest;
  JobSpec job;  // with this artifact's recipe alone, and no evaluations
};

// `model`: where the source model lies now; empty: where the job had it. Throws Error(bad_input) when no job of this store
// made it, or it is an endpoint or a calibration set, which have no recipe to run.
Rederivation rederivation_of(const ArtifactStore& store, const std::string& ref, const std::string& model);

// As JSON, through which it leaves the store's owner, and back.
std::string to_json(const Rederivation& plan);

// The manifest's tensors and losses by block; what is outside the blocks is left out.
struct BlockRecords {
  std::vector<TensorRecord> tensors;
  std::vector<LinearLoss> losses;
  bool operator==(const BlockRecords&) const = default;
};
std::vector<BlockRecords> blocks_of(const Manifest& manifest);
// `count` different blocks of `blocks`, ascending, drawn by `seed` alone.
std::vector<std::uint32_t> sample_blocks(std::uint32_t blocks, std::uint32_t count, std::uint64_t seed);
// Gives the job the journal of one that has committed every block before `block` just as `manifest` has it, in place of the
// journal it has. The store must have the manifest's chunks.
void write_journal_before(ArtifactStore& store, const Digest& job_id, const JobSpec& job, const Manifest& manifest,
                          std::uint32_t block);
// What the job committed as `block`; nothing when it did not come so far.
std::optional<BlockRecords> committed_block(const ArtifactStore& store, const Digest& job_id, std::uint32_t block);

// In words, the first few differences between two manifests of one recipe; empty when there is none.
std::string manifest_differences(const Manifest& stored, const Manifest& made);

}  // namespace quench::coordinator
