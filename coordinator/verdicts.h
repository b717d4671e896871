// How verdicts lie in the store's results: one record for each (task, sample) under the digest of
// their EvaluationKey, so that a second run of the same evaluation finds them.
#pragma once

#include <set>
#include <vector>

#include "coordinator/lease_table.h"
#include "coordinator/store/artifact_store.h"
#include "schemas/artifact.h"

namespace quench::coordinator {

void put_verdict(Commit& commit, const Digest& evaluation, const Verdict& verdict);
std::vector<Verdict> read_verdicts(const ArtifactStore& store, const Digest& evaluation);
std::set<LeaseTable::Item> kept_items(const ArtifactStore& store, const Digest& evaluation);

}  // namespace quench::coordinator
