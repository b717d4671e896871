#include "worker/calibration/near_duplicates.h"

#include <algorithm>
#include <limits>

#include "worker/calibration/words.h"

namespace quench::worker {
namespace {

constexpr std::size_t kRunWords = 5;
// Of 64 hashes; the share of equal ones estimates the Jaccard index.
constexpr std::size_t kEqualHashesMin = 45;

}  // namespace

NearDuplicates::Signature NearDuplicates::signature_of(std::string_view text) {
  Signature signature;
  signature.fill(std::numeric_limits<std::uint64_t>::max());
  const auto take = [&](std::uint64_t run) {
    for (std::size_t i = 0; i < kHashes; ++i) {
      // A function of its own for each i: an odd multiplier and a shift of the run's hash.
      const std::uint64_t value = mixed(run * (2 * i + 1) + 0x9e3779b97f4a7c15u * (i + 1));
      signature[i] = std::min(signature[i], value);
    }
  };
  WordRuns runs(kRunWords);
  std::uint64_t all = 0;
  bool any = false;
  for_each_word(text, [&](const Word& word) {
    all = mixed(all + word.hash);
    if (!runs.add(word.hash)) return;
    any = true;
    take(runs.hash());
  });
  if (!any) take(all);  // fewer than five words: equal or not
  return signature;
}

bool NearDuplicates::add(std::string_view text) {
  const Signature signature = signature_of(text);
  std::array<std::uint64_t, kBands> keys{};
  for (std::size_t band = 0; band < kBands; ++band) {
    std::uint64_t key = band;
    for (std::size_t i = 0; i < kHashes / kBands; ++i)
      key = mixed(key + signature[band * (kHashes / kBands) + i]);
    keys[band] = key;
    const auto found = bands_.find(key);
    if (found == bands_.end()) continue;
    for (const std::uint32_t other : found->second) {
      std::size_t equal = 0;
      for (std::size_t i = 0; i < kHashes; ++i) equal += signature[i] == signatures_[other][i];
      if (equal >= kEqualHashesMin) return false;
    }
  }
  const auto index = static_cast<std::uint32_t>(signatures_.size());
  signatures_.push_back(signature);
  for (const std::uint64_t key : keys) bands_[key].push_back(index);
  return true;
}

}  // namespace quench::worker
