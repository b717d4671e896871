#include "coordinator/repository/collection.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "coordinator/records.h"
#include "coordinator/report/words.h"
#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

using nlohmann::ordered_json;

constexpr std::uint64_t kDayMs = 24ull * 3600 * 1000;

// A finished job's records stay, so that it is reported for ever; what it wrote lives as long as its artifacts' names.
JobOpinion judge_job(std::string_view id, const std::vector<JournalEvent>& events, const CollectionChoice& choice,
                     std::uint64_t now_ms) {
  JobOpinion opinion;
  // Other journals than jobs' are kept whole, whatever they hold.
  if (!id.starts_with(kJournalPrefix)) return opinion;
  bool finished = false;
  std::uint64_t last_ms = 0;
  for (const JournalEvent& record : events) {
    const quench::JournalEvent event = decode_journal_event(record.bytes);
    if (std::holds_alternative<JobFinished>(event)) finished = true;
    if (const auto* started = std::get_if<AttemptStarted>(&event)) last_ms = static_cast<std::uint64_t>(started->unix_ms);
    // A block says how long it took: one that takes days is no sign of a job that was given up.
    if (const auto* block = std::get_if<BlockWritten>(&event)) last_ms += static_cast<std::uint64_t>(block->seconds * 1000);
    if (const auto* published = std::get_if<ArtifactPublished>(&event)) opinion.objects.push_back(published->digest);
  }
  const bool stale = choice.abandon_ms && last_ms + *choice.abandon_ms <= now_ms;
  if (finished) {
    opinion.fate = JobOpinion::Fate::release;
    opinion.objects.clear();
  } else if (stale && opinion.objects.empty()) {
    // One that has published something may be resumed for the rest, and its scores are found by its journal.
    opinion.fate = JobOpinion::Fate::forget;
  }
  return opinion;
}

std::vector<Digest> linked(const StoredObject& object) {
  const Manifest manifest = decode_manifest(object.bytes);
  return manifest.calibration_set.is_none() ? std::vector<Digest>{} : std::vector{manifest.calibration_set};
}

}  // namespace

CollectOptions collect_options(const CollectionChoice& choice, std::uint64_t now_ms) {
  CollectOptions options;
  options.dry_run = choice.dry_run;
  options.now_ms = now_ms;
  options.name_grace_ms = choice.grace_ms;
  options.links = linked;
  options.job = [choice, now_ms](std::string_view id, const std::vector<JournalEvent>& events) {
    return judge_job(id, events, choice, now_ms);
  };
  return options;
}

std::vector<std::string> names_to_end(const ArtifactStore& store, const std::vector<RetentionRule>& rules, std::uint64_t now_ms) {
  std::set<std::string> ending;
  const std::vector<Ref> refs = store.list_refs();
  for (const RetentionRule& rule : rules) {
    std::vector<Ref> fitting;
    for (const Ref& ref : refs)
      if (fits_pattern(ref.name, rule.pattern)) fitting.push_back(ref);
    std::ranges::sort(fitting, [](const Ref& a, const Ref& b) { return std::tie(b.commit, b.name) < std::tie(a.commit, a.name); });
    for (std::size_t i = 1; i < fitting.size(); ++i)
      if ((rule.keep && i >= *rule.keep) || (rule.days && fitting[i].time_ms + *rule.days * kDayMs <= now_ms))
        ending.insert(fitting[i].name);
  }
  return {ending.begin(), ending.end()};
}

std::string collect_store(ArtifactStore& store, const CollectionChoice& choice, std::uint64_t now_ms, bool json) {
  const std::vector<std::string> ended = names_to_end(store, store.policy().retention, now_ms);
  if (!choice.dry_run) {
    Commit commit;
    for (const std::string& name : ended) {
      commit.expect_ref(name, store.find_ref(name)->object);
      commit.delete_ref(name, now_ms);
    }
    store.commit(commit);
  }
  const CollectReport report = store.collect(collect_options(choice, now_ms));
  if (json) {
    ordered_json objects = ordered_json::array();
    for (const Digest& digest : report.objects) objects.push_back(digest.hex());
    return ordered_json{{"dry_run", choice.dry_run},
                        {"names_ended", ended},
                        {"objects_collected", objects},
                        {"objects_kept", report.objects_kept},
                        {"jobs_released", report.released_jobs},
                        {"jobs_forgotten", report.forgotten_jobs},
                        {"chunks_removed", report.chunks_removed},
                        {"bytes_removed", report.bytes_removed},
                        {"chunks_kept", report.chunks_kept},
                        {"chunks_open", report.chunks_open},
                        {"file_bytes_before", report.file_bytes_before},
                        {"file_bytes_after", report.file_bytes_after},
                        {"note", report.note}}
               .dump(2) +
           "\n";
  }
  std::string text;
  for (const std::string& name : ended) text += fmt::format("name {} {} (retention)\n", name, choice.dry_run ? "would end" : "ended");
  for (const Digest& digest : report.objects)
    text += fmt::format("{}  {} collected\n", digest.short_hex(), choice.dry_run ? "would be" : "weights");
  for (const std::string& job : report.forgotten_jobs)
    text += fmt::format("{} {} given up\n", job, choice.dry_run ? "would be" : "is");
  text += fmt::format("{} of {} chunks {} ({} MB)", report.chunks_removed, report.chunks_removed + report.chunks_kept,
                      choice.dry_run ? "would be removed" : "removed", megabytes(report.bytes_removed));
  if (report.chunks_open > 0) text += fmt::format("; {} belong to publishes under way", report.chunks_open);
  if (!choice.dry_run)
    text += fmt::format("; files {} MB -> {} MB", megabytes(report.file_bytes_before), megabytes(report.file_bytes_after));
  return text + "\n" + (report.note.empty() ? "" : report.note + "\n");
}

}  // namespace quench::coordinator
