// The walk behind ArtifactStore::verify and `quench artifacts verify`.
#pragma once

#include "coordinator/store/artifact_store.h"
#include "coordinator/store/catalog.h"
#include "coordinator/store/chunks.h"

namespace quench::coordinator {

// Reads every record of both databases. A bad one is counted and the walk goes on.
VerifyReport verify_records(const Chunks& chunks, const Catalog& catalog, const VerifyOptions& options);

}  // namespace quench::coordinator
