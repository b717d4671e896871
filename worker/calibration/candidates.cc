#include "worker/calibration/candidates.h"

#include <iterator>

namespace quench::worker {
namespace {

// What a document takes beside its text.
constexpr std::size_t kBytesAround = 512;

std::size_t bytes_of(const Document& document) { return document.text.size() + kBytesAround; }

}  // namespace

void Candidates::add(Document document, Tally& tally) {
  Key key;
  if (!document.repository.empty())
    key.first = Hasher().update_u64(seed_).update("repository").update(document.repository).finish();
  key.second = Hasher().update_u64(seed_).update("document").update(document.text).finish();
  if (beyond_ && !(key < *beyond_)) return tally.leave_out(Reason::beyond_memory);
  const std::size_t bytes = bytes_of(document);
  const bool has_repository = !document.repository.empty();
  if (!documents_.try_emplace(key, std::move(document)).second)
    return tally.leave_out(Reason::near_duplicate);
  bytes_ += bytes;
  if (has_repository && ++of_repository_[key.first] > limits_.per_repository) {
    Digest last;
    last.bytes.fill(0xff);
    drop(std::prev(documents_.upper_bound({key.first, last})), Reason::same_repository, tally);
  }
  while (bytes_ > limits_.bytes_max && documents_.size() > 1) {
    const auto largest = std::prev(documents_.end());
    beyond_ = largest->first;
    drop(largest, Reason::beyond_memory, tally);
  }
}

void Candidates::drop(std::map<Key, Document>::iterator which, Reason reason, Tally& tally) {
  bytes_ -= bytes_of(which->second);
  if (!which->second.repository.empty()) --of_repository_[which->first.first];
  documents_.erase(which);
  tally.leave_out(reason);
}

}  // namespace quench::worker
