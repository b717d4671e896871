#include "coordinator/records.h"

#include <fmt/format.h>

#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

constexpr std::string_view kJournalPrefix = "job-";

std::string prefix_of(const Digest& evaluation) { return "verdict/" + evaluation.hex() + "/"; }

}  // namespace

std::string journal_name(const Digest& job_id) { return std::string(kJournalPrefix) + job_id.hex(); }

Digest job_of_journal(std::string_view name) {
  if (!name.starts_with(kJournalPrefix))
    throw Error(ErrorCode::corrupt, "the journal \"" + std::string(name) + "\" is not a job's");
  return Digest::from_hex(name.substr(kJournalPrefix.size()));
}

void put_verdict(Commit& commit, const Digest& evaluation, const Verdict& verdict) {
  // Fixed width, so that the order of keys is the order of tasks.
  commit.put_result(fmt::format("{}{:08x}/{:08x}", prefix_of(evaluation), verdict.task, verdict.sample),
                    encode(verdict));
}

std::vector<Verdict> read_verdicts(const ArtifactStore& store, const Digest& evaluation) {
  std::vector<Verdict> verdicts;
  store.scan_results(prefix_of(evaluation), [&](std::string_view, Bytes bytes) {
    verdicts.push_back(decode_verdict(bytes));
    return true;
  });
  return verdicts;
}

std::set<LeaseTable::Item> kept_items(const ArtifactStore& store, const Digest& evaluation) {
  std::set<LeaseTable::Item> items;
  for (const Verdict& verdict : read_verdicts(store, evaluation)) items.emplace(verdict.task, verdict.sample);
  return items;
}

}  // namespace quench::coordinator
