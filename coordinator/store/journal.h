// The hash chain of a job's journal: each event carries the hash of the one before it, and the tail
// record the hash of the last. Pure functions on bytes; the catalog stores what they return.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "coordinator/store/artifact_store.h"

namespace quench::coordinator {

// Where a job's chain ends: `events` events, the last of them with `hash` (none before the first).
struct JournalTail {
  std::uint64_t events = 0;
  Digest hash;
  bool operator==(const JournalTail&) const = default;
};

// The record of the event that follows `tail`; moves `tail` past it.
std::string encode_event(std::string_view job_id, JournalTail& tail, const Commit::Event& event);
// The event that follows `tail` in the chain; moves `tail` past it. Throws Error(corrupt) when `record`
// does not continue the chain.
JournalEvent decode_event(std::string_view job_id, JournalTail& tail, std::string_view record);

std::string encode_tail(const JournalTail& tail);
JournalTail decode_tail(std::string_view record);

}  // namespace quench::coordinator
