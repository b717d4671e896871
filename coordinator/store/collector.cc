#include "coordinator/store/collector.h"

#include <algorithm>

#include "coordinator/store/keys.h"
#include "coordinator/store/store_state.h"

namespace quench::coordinator {
namespace {

// Chunks are removed in batches, between which commits and puts go on.
constexpr std::size_t kCollectBatch = 2048;
// Room that writing blob files anew leaves on the disk for everybody else.
constexpr std::uint64_t kRewriteMarginBytes = 256u << 20;

// Depth first, with a list instead of the stack: links may form any graph.
void close(DigestSet& alive, const Catalog& catalog, const CollectOptions& options, std::vector<Digest> open) {
  while (!open.empty()) {
    const Digest digest = open.back();
    open.pop_back();
    if (digest.is_none() || !alive.insert(digest).second) continue;
    const std::optional<StoredObject> object = catalog.get_object(digest);
    if (!object || !options.links) continue;
    for (const Digest& linked : options.links(*object)) open.push_back(linked);
  }
}

JobJudge judge_of(const Catalog& catalog, const CollectOptions& options) {
  if (!options.judge) return [](std::string_view, const std::vector<JournalEvent>&) { return JobOpinion{}; };
  return options.judge([&catalog](std::string_view job_id) { return catalog.read_journal(job_id); });
}

// What names point at, and what they pointed at until less than the grace period ago.
std::vector<Digest> named(const Catalog& catalog, const CollectOptions& options) {
  std::vector<Digest> roots;
  Ref before;
  catalog.database().scan(Catalog::refs, "", [&](std::string_view key, std::string_view value) {
    const Ref ref = Catalog::decode_ref(key, value);
    if (before.name == ref.name && options.now_ms < ref.time_ms + options.name_grace_ms) roots.push_back(before.object);
    if (before.name != ref.name) roots.push_back(before.object);
    before = ref;
    return true;
  });
  roots.push_back(before.object);
  return roots;
}

}  // namespace

Marked mark(const Catalog& catalog, const CollectOptions& options) {
  Marked marked;
  std::vector<Digest> roots = named(catalog, options);
  const JobJudge judge = judge_of(catalog, options);
  for (const std::string& job_id : catalog.list_jobs()) {
    const std::vector<JournalEvent> events = catalog.read_journal(job_id);
    JobOpinion opinion = judge(job_id, events);
    roots.insert(roots.end(), opinion.objects.begin(), opinion.objects.end());
    if (opinion.fate == JobOpinion::Fate::keep) {
      marked.kept_jobs.push_back(job_id);
    } else if (opinion.fate == JobOpinion::Fate::forget && opinion.left.size() < events.size()) {
      Commit::Forgotten& forgotten = marked.forgotten_jobs.emplace_back(job_id);
      for (JournalEvent& event : opinion.left) forgotten.left.push_back({job_id, std::move(event.bytes), std::move(event.chunks)});
    } else if (catalog.released_events(job_id) < events.size()) {
      marked.released_jobs.push_back(job_id);
    }
  }
  close(marked.objects, catalog, options, std::move(roots));
  DigestSet collected;
  for (const Digest& digest : catalog.list_collected()) collected.insert(digest);
  for (const Digest& digest : catalog.list_objects())
    if (!marked.objects.contains(digest) && !collected.contains(digest)) marked.dead.push_back(digest);
  // A name may still point at what was collected before; its chunks are not there to be kept.
  for (const Digest& digest : collected) marked.objects.erase(digest);
  return marked;
}

void revive(Marked& marked, const Catalog& catalog, const CollectOptions& options, std::span<const Digest> roots,
            std::span<const std::string> jobs) {
  std::vector<Digest> alive(roots.begin(), roots.end());
  if (!jobs.empty()) {
    const JobJudge judge = judge_of(catalog, options);
    const auto stays = [&](const std::string& job_id) {
      if (std::ranges::find(jobs, job_id) == jobs.end()) {
        const JobOpinion opinion = judge(job_id, catalog.read_journal(job_id));
        if (opinion.fate != JobOpinion::Fate::keep) return false;
        alive.insert(alive.end(), opinion.objects.begin(), opinion.objects.end());
      }
      marked.kept_jobs.push_back(job_id);
      return true;
    };
    std::erase_if(marked.released_jobs, stays);
    std::erase_if(marked.forgotten_jobs, [&](const Commit::Forgotten& one) { return stays(one.job_id); });
  }
  close(marked.objects, catalog, options, std::move(alive));
  std::erase_if(marked.dead, [&](const Digest& digest) { return marked.objects.contains(digest); });
}

DigestSet alive_chunks(const Catalog& catalog, const Marked& marked) {
  DigestSet chunks;
  for (const Digest& digest : marked.objects)
    if (const std::optional<StoredObject> object = catalog.get_object(digest))
      chunks.insert(object->chunks.begin(), object->chunks.end());
  for (const std::string& job_id : marked.kept_jobs) {
    const std::uint64_t released = catalog.released_events(job_id);
    for (const JournalEvent& event : catalog.read_journal(job_id))
      if (event.sequence >= released) chunks.insert(event.chunks.begin(), event.chunks.end());
  }
  return chunks;
}

CollectReport ArtifactStore::collect(const CollectOptions& options) {
  const std::lock_guard one_collection(state_->collect_mutex);
  return state_->reading([&](Databases& open) {
    CollectReport report;
    report.file_bytes_before = open.chunks().space().file_bytes;
    {
      const std::lock_guard no_commit(state_->commit_mutex);
      state_->collecting = true;
      state_->publishes.begin_collection();
    }
    struct Ending {
      State& state;
      ~Ending() {
        const std::lock_guard no_commit(state.commit_mutex);
        state.collecting = false;
        state.named_meanwhile.clear();
        state.jobs_meanwhile.clear();
        state.publishes.end_collection();
      }
    } const ending{*state_};

    Marked marked = mark(open.catalog(), options);
    {
      const std::lock_guard no_commit(state_->commit_mutex);
      revive(marked, open.catalog(), options, state_->named_meanwhile, state_->jobs_meanwhile);
      Commit commit;
      for (const Digest& digest : marked.dead) commit.collect_object(digest, options.now_ms);
      for (const std::string& job_id : marked.released_jobs) commit.release_journal(job_id);
      for (Commit::Forgotten& one : marked.forgotten_jobs) {
        report.forgotten_jobs.push_back(one.job_id);
        commit.forget_journal(one.job_id, std::move(one.left));
      }
      if (!options.dry_run && !commit.empty())
        state_->writing(open, [&](Databases& writable) { writable.apply(commit); });
    }
    // From here on nothing can make a dead object alive again without bringing its chunks.
    const DigestSet alive = alive_chunks(open.catalog(), marked);
    std::vector<Digest> batch;
    const auto remove_batch = [&] {
      const std::lock_guard no_commit(state_->commit_mutex);
      state_->writing(open, [&](Databases& writable) {
        report.bytes_removed += writable.chunks().remove(batch, state_->publishes);
      });
      batch.clear();
    };
    open.chunks().scan_sizes([&](const Digest& digest, std::uint64_t size_bytes) {
      const bool held = state_->publishes.holds(digest);
      if (alive.contains(digest) || held) {
        ++report.chunks_kept;
        report.chunks_open += held && !alive.contains(digest);
        return true;
      }
      ++report.chunks_removed;
      if (options.dry_run) {
        report.bytes_removed += size_bytes;
        return true;
      }
      batch.push_back(digest);
      if (batch.size() == kCollectBatch) remove_batch();
      return true;
    });
    if (!batch.empty()) remove_batch();
    report.objects = std::move(marked.dead);
    report.released_jobs = std::move(marked.released_jobs);
    report.objects_kept = marked.objects.size();
    report.file_bytes_after = report.file_bytes_before;
    if (options.dry_run) return report;
    state_->writing(open, [&](Databases& writable) {
      if (report.chunks_removed > 0) writable.chunks().compact(Database::Compaction::drop);
      const Database::BlobSpace space = writable.chunks().space();
      if (space.garbage_bytes > 0 &&
          static_cast<double>(space.garbage_bytes) >= options.rewrite_share * static_cast<double>(space.file_bytes)) {
        const std::uint64_t live = space.file_bytes - std::min(space.garbage_bytes, space.file_bytes);
        std::error_code unknown;
        const std::filesystem::space_info disk = std::filesystem::space(state_->directory, unknown);
        if (!unknown && disk.available < live + kRewriteMarginBytes) {
          report.note = std::to_string(space.garbage_bytes / 1000000) +
                        " MB of dead bytes stay in files that others share: writing those anew needs " +
                        std::to_string((live + kRewriteMarginBytes) / 1000000) + " MB of free disk";
        } else {
          writable.chunks().compact(Database::Compaction::rewrite);
        }
      }
    });
    report.file_bytes_after = open.chunks().space().file_bytes;
    return report;
  });
}

}  // namespace quench::coordinator
