#include "coordinator/repository/lineage.h"

#include <filesystem>
#include <set>

#include "coordinator/records.h"
#include "coordinator/scoring/scoreboard.h"
#include "schemas/codec.h"
#include "schemas/endpoint_url.h"
#include "schemas/error.h"

namespace quench::coordinator {

std::string Lineage::model_name() const {
  if (!manifest.endpoint_url.empty()) return manifest.endpoint_url;
  if (!job) return manifest.source.short_hex();
  const std::filesystem::path path = std::filesystem::path(job->model).lexically_normal();
  return path.has_filename() ? path.filename().string() : path.parent_path().filename().string();
}

double Lineage::mean_relative_loss() const {
  double sum = 0;
  for (const LinearLoss& loss : manifest.losses) sum += loss.relative_loss;
  return manifest.losses.empty() ? 0 : sum / static_cast<double>(manifest.losses.size());
}

Lineages::Lineages(const ArtifactStore& store) : store_(store), refs_(store.list_refs()) {
  for (const std::string& id : store.list_jobs()) {
    std::map<std::uint32_t, Digest> published;
    std::optional<JobSpec> job;
    for (const JournalEvent& record : store.read_journal(id)) {
      const quench::JournalEvent event = decode_journal_event(record.bytes);
      if (const auto* accepted = std::get_if<JobAccepted>(&event)) {
        job = accepted->job;
      } else if (const auto* named = std::get_if<ArtifactPublished>(&event)) {
        published[named->artifact] = named->digest;
        if (Made& made = made_[named->digest]; !made.job) made.job = job;
      } else if (const auto* opened = std::get_if<EvaluationOpened>(&event)) {
        const auto artifact = published.find(opened->artifact);
        if (!job || artifact == published.end() || opened->evaluation >= job->evaluate.size()) continue;
        made_[artifact->second].evaluations.push_back(
            {job->evaluate[opened->evaluation], opened->benchmark, opened->task_ids});
      }
    }
  }
}

Lineage Lineages::of(const Digest& digest) const {
  Lineage lineage;
  const StoredObject object = store_.get_object(digest);
  lineage.digest = digest;
  lineage.collected_ms = object.collected_ms;
  lineage.manifest = decode_manifest(object.bytes);
  for (const Ref& ref : refs_)
    if (ref.object == digest) lineage.names.push_back(ref);
  store_.scan_results("run/" + digest.hex() + "/", [&](std::string_view, const Bytes& bytes) {
    lineage.runs.push_back(decode_run_record(bytes));
    return true;
  });
  const auto made = made_.find(digest);
  if (made == made_.end()) return lineage;
  lineage.job = made->second.job;
  std::set<Digest> seen;
  for (const OpenedEvaluation& opened : made->second.evaluations) {
    const Digest key = evaluation_digest(evaluation_key(digest, opened.benchmark, opened.spec));
    if (!seen.insert(key).second) continue;
    KnownScore known{opened.spec, key, opened.benchmark, opened.task_ids.size(), std::nullopt};
    try {
      const EvaluationScore scored = score({opened.spec, key, opened.benchmark, opened.task_ids, read_verdicts(store_, key)});
      known.tasks = scored.tasks;
      known.pass_at_1 = scored.pass_at_1;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::failed) throw;  // failed: the evaluation is not complete
    }
    lineage.scores.push_back(std::move(known));
  }
  return lineage;
}

}  // namespace quench::coordinator
