#include "coordinator/store/collector.h"

#include <algorithm>

#include "coordinator/store/keys.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

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
  for (const std::string& job_id : catalog.list_jobs()) {
    const JobOpinion opinion =
        options.job ? options.job(job_id, catalog.read_journal(job_id)) : JobOpinion{};
    roots.insert(roots.end(), opinion.objects.begin(), opinion.objects.end());
    if (opinion.fate == JobOpinion::Fate::release && catalog.released_events(job_id) == catalog.count_events(job_id))
      continue;
    std::vector<std::string>& list = opinion.fate == JobOpinion::Fate::keep      ? marked.kept_jobs
                                     : opinion.fate == JobOpinion::Fate::release ? marked.released_jobs
                                                                                 : marked.forgotten_jobs;
    list.push_back(job_id);
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
  close(marked.objects, catalog, options, {roots.begin(), roots.end()});
  std::erase_if(marked.dead, [&](const Digest& digest) { return marked.objects.contains(digest); });
  for (std::vector<std::string>* list : {&marked.released_jobs, &marked.forgotten_jobs})
    std::erase_if(*list, [&](const std::string& job_id) {
      if (std::ranges::find(jobs, job_id) == jobs.end()) return false;
      marked.kept_jobs.push_back(job_id);
      return true;
    });
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

}  // namespace quench::coordinator
