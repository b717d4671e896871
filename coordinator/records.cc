#include "coordinator/records.h"

#include <fmt/format.h>

#include <optional>

#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

std::string usage_prefix(const Digest& job_id, std::uint32_t artifact, std::uint32_t evaluation) {
  return fmt::format("usage/{}/{:08x}/{:08x}/", job_id.hex(), artifact, evaluation);
}

std::string prefix_of(const Digest& evaluation) { return "verdict/" + evaluation.hex() + "/"; }

// Fixed width, so that the order of keys is the order of tasks.
std::string key_of(const Digest& evaluation, const Verdict& verdict) {
  return fmt::format("{}{:08x}/{:08x}", prefix_of(evaluation), verdict.task, verdict.sample);
}

}  // namespace

std::string journal_name(const Digest& job_id) { return std::string(kJournalPrefix) + job_id.hex(); }

Digest job_of_journal(std::string_view name) {
  if (!name.starts_with(kJournalPrefix))
    throw Error(ErrorCode::corrupt, "the journal \"" + std::string(name) + "\" is not a job's");
  return Digest::from_hex(name.substr(kJournalPrefix.size()));
}

EvaluationKey evaluation_key(const Digest& artifact, const Digest& benchmark, const EvaluateSpec& spec) {
  EvaluationKey key{artifact, benchmark, spec};
  key.spec.samples = 0;
  key.spec.tasks = 0;
  return key;
}

std::vector<Verdict> VerdictBatch::add(const Digest& evaluation, const std::vector<Verdict>& verdicts) {
  std::vector<Verdict> contradicting;
  for (const Verdict& verdict : verdicts) {
    const std::string key = key_of(evaluation, verdict);
    std::optional<Verdict> kept;
    if (const auto found = taken_.find(key); found != taken_.end()) {
      kept = found->second;
    } else if (const std::optional<Bytes> before = store_.get_result(key)) {
      kept = decode_verdict(*before);
    }
    if (!kept) {
      taken_.emplace(key, verdict);
    } else if (kept->completion != verdict.completion || kept->result != verdict.result) {
      contradicting.push_back(verdict);
    }
  }
  return contradicting;
}

void VerdictBatch::commit() {
  if (taken_.empty()) return;
  Commit commit;
  for (const auto& [key, verdict] : taken_) commit.put_result(key, encode(verdict));
  store_.commit(commit);
  taken_.clear();
}

std::vector<Verdict> keep_verdicts(ArtifactStore& store, const Digest& evaluation,
                                   const std::vector<Verdict>& verdicts) {
  VerdictBatch batch(store);
  const std::vector<Verdict> contradicting = batch.add(evaluation, verdicts);
  batch.commit();
  return contradicting;
}

std::vector<Verdict> read_verdicts(const ArtifactStore& store, const Digest& evaluation) {
  std::vector<Verdict> verdicts;
  store.scan_results(prefix_of(evaluation), [&](std::string_view, Bytes bytes) {
    verdicts.push_back(decode_verdict(bytes));
    return true;
  });
  return verdicts;
}

void put_usage(Commit& commit, const Digest& job_id, std::uint32_t artifact, std::uint32_t evaluation,
               const PhaseUsage& usage) {
  commit.put_result(fmt::format("{}{:08x}/{:08x}", usage_prefix(job_id, artifact, evaluation), usage.attempt,
                                usage.rank),
                    encode(usage));
}

std::vector<PhaseUsage> read_usage(const ArtifactStore& store, const Digest& job_id, std::uint32_t artifact,
                                   std::uint32_t evaluation) {
  std::vector<PhaseUsage> usage;
  store.scan_results(usage_prefix(job_id, artifact, evaluation), [&](std::string_view, Bytes bytes) {
    usage.push_back(decode_phase_usage(bytes));
    return true;
  });
  return usage;
}

std::set<LeaseTable::Item> kept_items(const ArtifactStore& store, const Digest& evaluation) {
  std::set<LeaseTable::Item> items;
  for (const Verdict& verdict : read_verdicts(store, evaluation)) items.emplace(verdict.task, verdict.sample);
  return items;
}

}  // namespace quench::coordinator
