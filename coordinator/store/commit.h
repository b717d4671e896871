// What one commit writes. A Commit is a plain list of changes built by one thread; nothing reaches
// the disk until ArtifactStore::commit takes it, and then all of it does, or none.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/digest.h"

namespace quench::coordinator {

using Bytes = std::vector<std::uint8_t>;

inline std::string_view as_text(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline std::span<const std::uint8_t> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// The builder of one atomic, synced write. Every call copies what it is given and throws
// Error(bad_input) when a name, a key or a size is outside the limits of keys.h.
//
// `chunks` names the chunks that the object or event refers to. ArtifactStore::commit makes them
// durable first and refuses when one is not in the store; the list is kept with the record, so that
// verify and the collector know what is alive without decoding anything.
class Commit {
 public:
  // A manifest or run record under its SHA-256. Throws Error(corrupt) when `digest` is not that of
  // `bytes`. An object that is there already stays as it is; committing it with other `chunks` than
  // before throws Error(bad_input).
  Commit& put_object(const Digest& digest, std::span<const std::uint8_t> bytes,
                     std::span<const Digest> chunks = {});
  // Points a name at an object of the store or of this commit. `time_ms`: Unix time, from the
  // caller's clock, kept in the history.
  Commit& set_ref(std::string_view name, const Digest& object, std::uint64_t time_ms);
  // Ends a name; its history stays. Committing it throws Error(bad_input) when the name is not set.
  Commit& delete_ref(std::string_view name, std::uint64_t time_ms);
  // Makes the whole commit fail with Error(bad_input), nothing written, unless `name` points at `object` just
  // before it (none: is not set). Of two that change one name at once, one wins and the other is told.
  Commit& expect_ref(std::string_view name, const Digest& object);
  // Adds the next event of a job; several in one commit keep their order.
  Commit& append_journal(std::string_view job_id, std::span<const std::uint8_t> event,
                         std::span<const Digest> chunks = {});
  // Stores a result under an opaque key; an older one under the same key is replaced.
  Commit& put_result(std::string_view key, std::span<const std::uint8_t> bytes);

  Commit& delete_result(std::string_view key);
  // What the store itself goes by (policy.h), under a name; no bytes: the setting ends.
  Commit& put_setting(std::string_view key, std::span<const std::uint8_t> bytes);
  // For the collector. The chunks of an object, of a journal's events so far, are no longer kept; the records
  // stay. Putting the object again brings it back.
  Commit& collect_object(const Digest& object, std::uint64_t time_ms);
  Commit& release_journal(std::string_view job_id);
  // Removes a journal but for the events of `left`, whose chunks are no longer kept; with none its job begins anew.
  struct Event;
  Commit& forget_journal(std::string_view job_id, std::vector<Event> left = {});

  bool empty() const;

  struct Object {
    Digest digest;
    Bytes bytes;
    std::vector<Digest> chunks;
  };
  struct RefChange {
    std::string name;
    Digest object;  // none: the name is deleted
    std::uint64_t time_ms = 0;
  };
  struct Event {
    std::string job_id;
    Bytes bytes;
    std::vector<Digest> chunks;
  };
  struct Result {
    std::string key;
    Bytes bytes;
  };
  struct Expectation {
    std::string name;
    Digest object;
  };
  struct Collected {
    Digest object;
    std::uint64_t time_ms = 0;
  };
  struct Forgotten {
    std::string job_id;
    std::vector<Event> left;
  };
  const std::vector<Object>& objects() const { return objects_; }
  const std::vector<RefChange>& ref_changes() const { return ref_changes_; }
  const std::vector<Event>& events() const { return events_; }
  const std::vector<Result>& results() const { return results_; }
  const std::vector<Expectation>& expectations() const { return expectations_; }
  const std::vector<std::string>& deleted_results() const { return deleted_results_; }
  const std::vector<Result>& settings() const { return settings_; }
  const std::vector<Collected>& collected() const { return collected_; }
  const std::vector<std::string>& released() const { return released_; }
  const std::vector<Forgotten>& forgotten() const { return forgotten_; }

 private:
  std::vector<Object> objects_;
  std::vector<RefChange> ref_changes_;
  std::vector<Event> events_;
  std::vector<Result> results_;
  std::vector<Expectation> expectations_;
  std::vector<std::string> deleted_results_;
  std::vector<Result> settings_;
  std::vector<Collected> collected_;
  std::vector<std::string> released_;
  std::vector<Forgotten> forgotten_;
};

}  // namespace quench::coordinator
