#include "coordinator/repository/collection.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "coordinator/queue/queue.h"
#include "coordinator/records.h"
#include "coordinator/report/words.h"
#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

using nlohmann::ordered_json;

constexpr std::uint64_t kDayMs = 24ull * 3600 * 1000;

struct JobHistory {
  std::vector<quench::JournalEvent> events;
  std::optional<JobAccepted> accepted;
  std::vector<Digest> published;
  std::set<std::uint32_t> published_artifacts;
  bool finished = false;
  std::uint64_t started_ms = 0;  // the last attempt
  std::uint64_t last_ms = 0;     // its last sign of life
};

JobHistory history_of(const std::vector<JournalEvent>& records) {
  JobHistory history;
  for (const JournalEvent& record : records) {
    const quench::JournalEvent& event = history.events.emplace_back(decode_journal_event(record.bytes));
    if (const auto* accepted = std::get_if<JobAccepted>(&event)) history.accepted = *accepted;
    if (std::holds_alternative<JobFinished>(event)) history.finished = true;
    if (const auto* started = std::get_if<AttemptStarted>(&event))
      history.started_ms = history.last_ms = static_cast<std::uint64_t>(started->unix_ms);
    // A block says how long it took: one that takes days is no sign of a job that was given up.
    if (const auto* block = std::get_if<BlockWritten>(&event)) history.last_ms += static_cast<std::uint64_t>(block->seconds * 1000);
    if (const auto* published = std::get_if<ArtifactPublished>(&event)) {
      history.published.push_back(published->digest);
      history.published_artifacts.insert(published->artifact);
    }
  }
  return history;
}

// What a job that was given up leaves: everything about what it has published, whose scores are found by its journal. Its
// other blocks go, and are made anew if it is ever tried again.
std::vector<JournalEvent> left_of(const JobHistory& history, const std::vector<JournalEvent>& records) {
  std::vector<JournalEvent> left;
  if (history.published.empty()) return left;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const auto* outer = std::get_if<OuterCommitted>(&history.events[i]);
    const auto* block = std::get_if<BlockWritten>(&history.events[i]);
    if ((outer && !history.published_artifacts.contains(outer->artifact)) ||
        (block && !history.published_artifacts.contains(block->artifact)))
      continue;
    left.push_back(records[i]);
  }
  return left;
}

enum class Standing {
  unknown,   // to the service: `quench run` made it, or an older service's journal
  wanted,    // waits, is at work, or ended too recently
  given_up,  // cancelled or failed, and not tried again for the grace period
};

// What the service thinks of a job.
Standing standing_of(const QueueState& queue, const Digest& id, const JobHistory& history, const CollectionChoice& choice,
                     std::uint64_t now_ms) {
  std::uint64_t ended_ms = 0;
  for (const auto& [number, job] : queue.jobs) {
    const bool over = job.state == JobState::done || job.state == JobState::failed || job.state == JobState::cancelled;
    // One whose model nobody has read yet may turn out to be this one.
    const bool same = !job.job_id.is_none() ? job.job_id == id
                                            : !over && history.accepted && job_id(job.job, history.accepted->source) == id;
    if (!same) continue;
    if (!over) return Standing::wanted;
    ended_ms = std::max(ended_ms, static_cast<std::uint64_t>(job.ended_ms));
  }
  // One that was begun since is `quench run`'s.
  if (ended_ms == 0 || history.started_ms > ended_ms) return Standing::unknown;
  return ended_ms + choice.grace_ms <= now_ms ? Standing::given_up : Standing::wanted;
}

// A finished job's records stay, so that it is reported for ever; what it wrote lives as long as its artifacts' names.
JobOpinion judge_job(std::string_view name, const std::vector<JournalEvent>& events, const QueueState& queue,
                     const CollectionChoice& choice, std::uint64_t now_ms) {
  JobOpinion opinion;
  // Other journals than jobs' are kept whole, whatever they hold.
  if (!name.starts_with(kJournalPrefix)) return opinion;
  const JobHistory history = history_of(events);
  if (history.finished) {
    opinion.fate = JobOpinion::Fate::release;
    return opinion;
  }
  const Standing standing = standing_of(queue, job_of_journal(name), history, choice, now_ms);
  const bool stale = choice.abandon_ms && history.last_ms + *choice.abandon_ms <= now_ms;
  if (standing == Standing::given_up || (standing == Standing::unknown && stale)) {
    opinion.fate = JobOpinion::Fate::forget;
    opinion.left = left_of(history, events);
  } else {
    opinion.objects = history.published;
  }
  return opinion;
}

QueueState queue_of(const std::vector<JournalEvent>& events) {
  QueueState queue;
  for (const JournalEvent& record : events) {
    const quench::JournalEvent event = decode_journal_event(record.bytes);
    if (const auto* moved = std::get_if<JobMoved>(&event)) apply(queue, *moved);
  }
  return queue;
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
  options.judge = [choice, now_ms](const ReadJournal& read) -> JobJudge {
    return [choice, now_ms, queue = queue_of(read(kServiceJournal))](std::string_view name, const std::vector<JournalEvent>& events) {
      return judge_job(name, events, queue, choice, now_ms);
    };
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
