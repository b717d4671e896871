// How a job's records lie in the store. Its journal is named after its id; verdicts are results, one
// for each (task, sample) under the digest of their EvaluationKey, so that a second run of the same
// evaluation finds them. A verdict that is kept stays for ever: no other one takes its place.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/lease_table.h"
#include "coordinator/store/artifact_store.h"
#include "schemas/artifact.h"

namespace quench::coordinator {

inline constexpr std::string_view kJournalPrefix = "job-";
inline constexpr std::string_view kServiceJournal = "service";  // `quench serve`'s own: every change of its queue
std::string journal_name(const Digest& job_id);  // "job-<64 hexadecimal digits>"
// Throws Error(corrupt) for a name that journal_name does not give.
Digest job_of_journal(std::string_view name);

// What the verdicts on `artifact` are kept under: everything that decides a completion and its verdict, so
// not how many samples and tasks are asked for.
EvaluationKey evaluation_key(const Digest& artifact, const Digest& benchmark, const EvaluateSpec& spec);

// Verdicts of several leases in one commit: each commit waits for the disk, which took more of the coordinator's time than
// all else about a small lease.
class VerdictBatch {
 public:
  explicit VerdictBatch(ArtifactStore& store) : store_(store) {}
  // Takes the verdicts whose (task, sample) has none yet, the first of two in the list too; returns those that
  // contradict what is kept: another completion, or another result.
  std::vector<Verdict> add(const Digest& evaluation, const std::vector<Verdict>& verdicts);
  bool empty() const { return taken_.empty(); }
  // What was taken is durable when it returns. Before that it is known to add() only.
  void commit();

 private:
  ArtifactStore& store_;
  std::map<std::string, Verdict> taken_;  // by key
};

// Durable when it returns; otherwise as VerdictBatch::add.
std::vector<Verdict> keep_verdicts(ArtifactStore& store, const Digest& evaluation,
                                   const std::vector<Verdict>& verdicts);
std::vector<Verdict> read_verdicts(const ArtifactStore& store, const Digest& evaluation);
// What a phase of a job took, by rank and attempt; `evaluation` is kNoEvaluation for quantizing.
void put_usage(Commit& commit, const Digest& job_id, std::uint32_t artifact, std::uint32_t evaluation,
               const PhaseUsage& usage);
std::vector<PhaseUsage> read_usage(const ArtifactStore& store, const Digest& job_id, std::uint32_t artifact,
                                   std::uint32_t evaluation);
std::set<LeaseTable::Item> kept_items(const ArtifactStore& store, const Digest& evaluation);

}  // namespace quench::coordinator
