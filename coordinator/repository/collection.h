// What the collector is told about Quench's own records: which objects belong together, which jobs are over, and which
// names a store's rules end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/store/artifact_store.h"

namespace quench::coordinator {

struct CollectionChoice {
  bool dry_run = false;
  std::uint64_t grace_ms = 7ull * 24 * 3600 * 1000;
  // Jobs of `quench run` whose last sign of life is longer ago are given up; none: never. Those of the service are when they
  // were cancelled or failed longer than grace_ms ago and nobody tried them again.
  std::optional<std::uint64_t> abandon_ms;
};

// Everything but links and opinions is as CollectOptions has it.
CollectOptions collect_options(const CollectionChoice& choice, std::uint64_t now_ms);

// The names that `rules` end now, ascending. The newest of a pattern's names always stays.
std::vector<std::string> names_to_end(const ArtifactStore& store, const std::vector<RetentionRule>& rules, std::uint64_t now_ms);

// Ends names as the store's policy says, then collects. As text, or as one JSON document.
std::string collect_store(ArtifactStore& store, const CollectionChoice& choice, std::uint64_t now_ms, bool json);

}  // namespace quench::coordinator
