// The documents of one form that a set may be made of, in the order in which they will be tried. That order
// is a function of the seed and of what the documents and their repositories are, never of where they lie or
// of the order in which they were read. A corpus is larger than memory: only the first so many bytes of that
// order are kept. One thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "schemas/digest.h"
#include "worker/calibration/document.h"

namespace quench::worker {

struct CandidateLimits {
  std::size_t bytes_max = 512 << 20;
  std::size_t per_repository = 16;  // files of a repository to try before the next one is taken
};

class Candidates {
 public:
  Candidates(std::uint64_t seed, CandidateLimits limits) : seed_(seed), limits_(limits) {}

  // Counts what is not kept, or displaces another: a text that is there already as a near duplicate.
  void add(Document document, Tally& tally);

  // Repository before repository (documents without one before others), then document by document.
  using Key = std::pair<Digest, Digest>;
  const std::map<Key, Document>& in_order() const { return documents_; }

 private:
  void drop(std::map<Key, Document>::iterator which, Reason reason, Tally& tally);

  std::uint64_t seed_;
  CandidateLimits limits_;
  std::map<Key, Document> documents_;
  std::map<Digest, std::size_t> of_repository_;
  std::size_t bytes_ = 0;
  std::optional<Key> beyond_;  // from here on nothing is kept any more
};

}  // namespace quench::worker
