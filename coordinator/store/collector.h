// The collector: marks what is alive, then takes the chunks of everything else. Records stay: an object whose
// chunks were taken keeps its manifest, run records and scores, so that it can still be looked up, reported and
// made again.
//
// Safe beside publishes, and against kill -9 at any point: one commit says first whose chunks are given up;
// only then are chunks removed, batch by batch, each looked at again beside commits and puts that went on
// meanwhile. A collection that is cut short leaves unreferenced chunks, which the next one takes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/store/artifact_store.h"
#include "coordinator/store/catalog.h"
#include "coordinator/store/open_publishes.h"

namespace quench::coordinator {

// What is alive in a catalog at one moment.
struct Marked {
  DigestSet objects;                // alive
  std::vector<Digest> dead;         // neither alive nor collected before
  std::vector<std::string> kept_jobs, released_jobs;
  std::vector<Commit::Forgotten> forgotten_jobs;
};
// Throws Error(corrupt): with a damaged catalog nothing may be judged dead.
Marked mark(const Catalog& catalog, const CollectOptions& options);
// Makes `roots` and what they link to alive, and keeps `jobs`: what commits named since mark(). Other jobs are judged again where
// there was such a commit, which may be the one that queues them.
void revive(Marked& marked, const Catalog& catalog, const CollectOptions& options, std::span<const Digest> roots,
            std::span<const std::string> jobs);
// Every chunk that must stay: those of alive objects and kept jobs.
DigestSet alive_chunks(const Catalog& catalog, const Marked& marked);

}  // namespace quench::coordinator
