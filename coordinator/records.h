// How a job's records lie in the store. Its journal is named after its id; verdicts are results, one
// for each (task, sample) under the digest of their EvaluationKey, so that a second run of the same
// evaluation finds them.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/lease_table.h"
#include "coordinator/store/artifact_store.h"
#include "schemas/artifact.h"

namespace quench::coordinator {

std::string journal_name(const Digest& job_id);  // "job-<64 hexadecimal digits>"
// Throws Error(corrupt) for a name that journal_name does not give.
Digest job_of_journal(std::string_view name);

void put_verdict(Commit& commit, const Digest& evaluation, const Verdict& verdict);
std::vector<Verdict> read_verdicts(const ArtifactStore& store, const Digest& evaluation);
std::set<LeaseTable::Item> kept_items(const ArtifactStore& store, const Digest& evaluation);

}  // namespace quench::coordinator
