// The coordinator's store in a simulated world: what is committed survives every crash, each commit whole or not at all. It
// can be full, and the process can die right before or right after a commit.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/lease_table.h"
#include "schemas/codec.h"
#include "tests/simulation/truth.h"

namespace quench::simulation {

// The coordinator's process ends here.
struct Killed {};

struct Disk {
  using Verdicts = std::map<coordinator::LeaseTable::Item, Verdict>;

  std::vector<Bytes> journal;
  std::map<Digest, Bytes> chunks;
  std::map<Digest, Bytes> manifests;
  std::map<std::string, Digest> names;
  std::map<Digest, Verdicts> verdicts;

  // Faults to come.
  bool full = false;                       // the next commit fails
  std::optional<int> commits_until_death;  // 0: at the next one
  bool dies_before_commit = false;

  template <typename Change>
  void commit(Change change) {
    if (std::exchange(full, false)) throw Error(ErrorCode::failed, "no space left on device");
    const bool dies = commits_until_death && (*commits_until_death)-- == 0;
    if (dies) commits_until_death.reset();
    if (dies && dies_before_commit) throw Killed{};
    change();
    if (dies) throw Killed{};
  }
  void require(const std::vector<Digest>& digests) const {
    for (const Digest& digest : digests)
      if (!chunks.contains(digest)) throw Violation("a commit names the chunk " + digest.short_hex() + ", which is not stored");
  }
};

}  // namespace quench::simulation
