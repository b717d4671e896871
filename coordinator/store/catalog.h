// The catalog database: objects, names, journals, results, and the number and chain of the newest
// commit. Every commit is one synced write that also advances that number, which HEAD follows.
//
// Threads: readers from any thread; apply() from one at a time.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/store/artifact_store.h"
#include "coordinator/store/database.h"
#include "coordinator/store/journal.h"

namespace quench::coordinator {

// Where the catalog stands. chain = SHA-256(chain_before, number, contents of commit `number`).
struct CommitState {
  std::uint64_t number = 0;
  Digest chain;
  Digest chain_before;
};

class Catalog {
 public:
  // `meta` is RocksDB's default column family; the others have these names.
  enum Family : std::size_t { meta, objects, refs, journal, results };

  // Throws as Database; with `create`, the new catalog has commit 1, which holds the format.
  Catalog(const std::filesystem::path& path, DatabaseAccess access, LogSink log);

  // The store format in `meta`. Throws Error(corrupt) when there is none.
  std::uint32_t format() const;
  // Throws Error(corrupt) when there is no intact one.
  CommitState state() const;
  // Writes this build's format into a catalog of an older one, as a commit of its own. Throws Error(failed).
  CommitState upgrade(const CommitState& before);
  // Writes `commit` as the successor of `before`. Throws Error(bad_input) for changes that make no
  // sense, before anything is written; Error(failed).
  CommitState apply(const Commit& commit, const CommitState& before);

  std::optional<StoredObject> get_object(const Digest& digest) const;
  bool has_object(const Digest& digest) const;
  // When the collector took the object's chunks; nothing while they are kept.
  std::optional<std::uint64_t> collected_ms(const Digest& digest) const;
  std::vector<Digest> list_collected() const;
  // How many of a journal's first events have chunks that are no longer kept.
  std::uint64_t released_events(std::string_view job_id) const;
  std::uint64_t count_events(std::string_view job_id) const { return journal_tail(job_id).events; }
  std::optional<Bytes> get_setting(std::string_view key) const;
  std::vector<std::string> list_settings(std::string_view prefix) const;
  // Digests that start with `prefix` (raw bytes), ascending.
  std::vector<Digest> list_objects(std::string_view prefix = {}) const;
  // The newest entry of a name, which may be its deletion.
  std::optional<Ref> newest_ref(std::string_view name) const;
  std::vector<Ref> ref_history(std::string_view name) const;
  std::vector<Ref> list_refs(std::string_view prefix = {}) const;
  std::vector<JournalEvent> read_journal(std::string_view job_id) const;
  std::vector<std::string> list_jobs() const;
  std::optional<Bytes> get_result(std::string_view key) const;
  void scan_results(std::string_view prefix, const std::function<bool(std::string_view, Bytes)>& visit) const;

  // A copy of the database in the new directory `to`. Throws Error(failed).
  void checkpoint(const std::filesystem::path& to) { database_.checkpoint(to); }
  // For verify, which goes through the records one by one and outlives bad ones.
  const Database& database() const { return database_; }
  static std::string_view family_name(Family family);
  // Each throws Error(corrupt).
  static StoredObject decode_object(std::string_view key, std::string_view value);
  static Ref decode_ref(std::string_view key, std::string_view value);
  static Bytes decode_result(std::string_view key, std::string_view value);

 private:
  // Writes `puts` and the state that follows `before` in one synced write.
  struct OwnedPut {
    Family family;
    std::string key;
    std::optional<std::string> value;  // none: the record is erased
  };
  CommitState write(std::vector<OwnedPut> puts, const CommitState& before);
  std::optional<StoredObject> get_intact(const Digest& digest) const;
  void draft_objects(const Commit& commit, std::vector<OwnedPut>& puts) const;
  void draft_refs(const Commit& commit, std::uint64_t number, std::vector<OwnedPut>& puts) const;
  void check_expectations(const Commit& commit) const;
  void draft_collection(const Commit& commit, std::vector<OwnedPut>& puts) const;
  void draft_settings(const Commit& commit, std::vector<OwnedPut>& puts) const;
  void draft_events(const Commit& commit, std::vector<OwnedPut>& puts) const;
  JournalTail journal_tail(std::string_view job_id) const;
  std::vector<JournalEvent> read_events(std::string_view job_id, const JournalTail& expected) const;
  std::optional<std::uint64_t> number_in_meta(const std::string& key) const;

  Database database_;
};

}  // namespace quench::coordinator
