// What it takes to make an artifact again, read from the records of the job that made it. The making is
// cli/rederive's: it runs the job in a store of its own and compares.
#pragma once

#include <string>

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

// In words, the first few differences between two manifests of one recipe; empty when there is none.
std::string manifest_differences(const Manifest& stored, const Manifest& made);

}  // namespace quench::coordinator
