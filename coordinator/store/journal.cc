#include "coordinator/store/journal.h"

#include "coordinator/store/keys.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

// The job and the place are hashed too: an event moved to another job or place breaks the chain.
Digest event_hash(std::string_view job_id, std::uint64_t sequence, std::string_view record) {
  return Hasher().update_u64(job_id.size()).update(job_id).update_u64(sequence).update(record).finish();
}

}  // namespace

std::string encode_event(std::string_view job_id, JournalTail& tail, const Commit::Event& event) {
  std::string record;
  append_digest(record, tail.hash);
  append_digests(record, event.chunks);
  record += as_text(event.bytes);
  tail.hash = event_hash(job_id, tail.events, record);
  ++tail.events;
  return record;
}

JournalEvent decode_event(std::string_view job_id, JournalTail& tail, std::string_view record) {
  std::string_view rest = record;
  if (take_digest(rest) != tail.hash)
    throw Error(ErrorCode::corrupt, "the journal of job " + std::string(job_id) + " was changed: event " +
                                        std::to_string(tail.events) +
                                        " does not carry the hash of the event before it");
  JournalEvent event;
  event.sequence = tail.events;
  event.chunks = take_digests(rest);
  const std::span<const std::uint8_t> bytes = as_bytes(rest);
  event.bytes.assign(bytes.begin(), bytes.end());
  tail.hash = event_hash(job_id, tail.events, record);
  ++tail.events;
  return event;
}

std::string encode_tail(const JournalTail& tail) {
  std::string record;
  append_u64(record, tail.events);
  append_digest(record, tail.hash);
  return record;
}

JournalTail decode_tail(std::string_view record) {
  JournalTail tail;
  tail.events = take_u64(record);
  tail.hash = take_digest(record);
  return tail;
}

}  // namespace quench::coordinator
