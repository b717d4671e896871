// The artifact store (DESIGN.md section 4): chunks by digest, and a catalog of objects, names,
// journals and results whose every commit is atomic, synced and covered by HEAD. What the store
// keeps are byte strings; the schemas room says what they mean.
//
// Layout of a store directory:
//   chunks/      RocksDB with blobs: SHA-256 -> bytes, no write-ahead log
//   catalog/     RocksDB: objects, refs, journal, results, meta
//   HEAD         the newest acknowledged commit (head.h); opening refuses databases that are behind it
//   LOCK         flock of the one owner, with its process id and host
//   quench.sock  the owner's socket for everybody else (served by the coordinator, not by the store)
//
// Threads: every method may be called from any thread. put_chunk, get_* and the other readers run in
// parallel; commits are serialized inside; reopen() waits for calls in progress. Visitors run on the
// calling thread and must not call reopen().
//
// Errors, beside those each method names:
//   Error(corrupt)  stored bytes do not have their digest, or acknowledged data is missing
//   Error(failed)   a write failed (a full disk): the store is read-only from then on. Readers go on;
//                   every write throws the same error until reopen() succeeds. Whether the commit that
//                   failed is in the store is known after reopen() only: look before repeating it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/store/commit.h"
#include "coordinator/store/log_sink.h"
#include "coordinator/store/policy.h"
#include "schemas/digest.h"

namespace quench::coordinator {

enum class OpenMode {
  create,     // open, or make a new store where the directory is missing or empty
  existing,   // open; Error(bad_input) where there is no store
  read_only,  // as existing, and nothing in the directory is changed; still needs to be the owner
};

struct StoredObject {
  Digest digest;
  Bytes bytes;
  std::vector<Digest> chunks;  // as given to put_object
  // When the collector took the chunks, which are not in the store then, unless others share them.
  std::optional<std::uint64_t> collected_ms;
};

// Throws Error(bad_input) when the collector took the object's chunks; `ref` is what it was asked for by.
void require_weights(const StoredObject& object, std::string_view ref);

// A name, or one entry of its history.
struct Ref {
  std::string name;
  Digest object;  // none in an entry that deleted the name
  std::uint64_t time_ms = 0;
  std::uint64_t commit = 0;  // the commit that wrote it
};

struct JournalEvent {
  std::uint64_t sequence = 0;  // 0 for the first of a job
  Bytes bytes;
  std::vector<Digest> chunks;  // as given to append_journal
};

// What verify() found. `findings` says each in words, at most kFindingsMax of them.
struct VerifyReport {
  static constexpr std::size_t kFindingsMax = 1000;
  std::uint64_t chunks = 0, chunk_bytes = 0, objects = 0, refs = 0, events = 0, results = 0;  // checked
  std::uint64_t corrupt = 0;       // bytes without their digest, broken chains, missing targets
  std::uint64_t untrusted = 0;     // intact, but the caller's ObjectCheck does not vouch for it
  std::uint64_t unverifiable = 0;  // could not be read, for a reason other than damage
  std::vector<std::string> findings;
  std::vector<Digest> damaged_chunks;   // missing ones among them
  std::vector<Digest> damaged_objects;  // as far as their digest is still known
  // The sum of 1 (corrupt), 2 (untrusted) and 4 (unverifiable).
  int exit_status() const { return (corrupt ? 1 : 0) + (untrusted ? 2 : 0) + (unverifiable ? 4 : 0); }
};

// The caller's opinion of an intact object, which is opaque to the store.
struct ObjectOpinion {
  enum class Kind { trusted, untrusted, unverifiable } kind = Kind::trusted;
  std::string reason;
};
using ObjectCheck = std::function<ObjectOpinion(const StoredObject&)>;

// Which chunks verify() reads: those of share `share` of `shares` (by digest, so that every chunk has its share). Records
// are always read.
struct VerifyOptions {
  ObjectCheck check;
  std::uint64_t shares = 1;
  std::uint64_t share = 0;
};

// What the collector's caller thinks of a job, whose events are opaque to the store.
struct JobOpinion {
  enum class Fate {
    keep,     // not over: its events' chunks stay
    release,  // over: its records stay, the chunks of its events only as far as objects have them
    forget,   // given up: its journal goes but for the events of `left`, and what they do not tell is done anew
  } fate = Fate::keep;
  std::vector<Digest> objects;  // that stay alive with it
  std::vector<JournalEvent> left;
};
using JobJudge = std::function<JobOpinion(std::string_view job_id, const std::vector<JournalEvent>& events)>;
using ReadJournal = std::function<std::vector<JournalEvent>(std::string_view job_id)>;

struct CollectOptions {
  bool dry_run = false;  // says what it would do, and does nothing
  std::uint64_t now_ms = 0;
  // What a name pointed at stays for so long after the name was changed or ended, so that it can be undone.
  std::uint64_t name_grace_ms = 7ull * 24 * 3600 * 1000;
  std::function<std::vector<Digest>(const StoredObject&)> links;  // objects that are alive with this one
  // Gives the judge of jobs, from whatever journals it needs to read. Asked when marking begins and, where commits were made
  // since, once more before a job is given up, with no commit in between. None: every job is kept.
  std::function<JobJudge(const ReadJournal&)> judge;
  // Share of dead bytes in the blob files from which they are written anew.
  double rewrite_share = 0.25;
};

struct CollectReport {
  std::vector<Digest> objects;                // whose chunks are given up
  std::vector<std::string> released_jobs, forgotten_jobs;
  std::uint64_t objects_kept = 0;
  std::uint64_t chunks_removed = 0, bytes_removed = 0;
  std::uint64_t chunks_kept = 0, chunks_open = 0;  // open: of publishes under way, among those kept
  std::uint64_t file_bytes_before = 0, file_bytes_after = 0;
  std::string note;  // why space was not given back; empty when it was
};

class ArtifactStore {
 public:
  // Takes the lock, checks HEAD against both databases without changing them, then opens them.
  // Throws Error(bad_input): not a store, held by another process (named, with its socket), a newer
  // format; Error(corrupt): the databases are damaged or behind HEAD; Error(failed): the disk. `log`
  // receives what RocksDB has to say.
  static ArtifactStore open(const std::filesystem::path& directory, OpenMode mode, LogSink log = {});
  ArtifactStore(ArtifactStore&&) noexcept;
  ArtifactStore& operator=(ArtifactStore&&) = delete;
  ~ArtifactStore();  // closes; what was not committed may be gone

  const std::filesystem::path& directory() const;
  std::filesystem::path socket_path() const;  // directory()/quench.sock

  // --- Chunks: 1 byte to 16 MiB, named by their SHA-256 -------------------------------------------
  // Cheap: durable only once a commit refers to it. Storing a chunk twice costs a look-up.
  // The first form throws Error(corrupt) when the bytes do not have `digest`.
  void put_chunk(const Digest& digest, std::span<const std::uint8_t> bytes);
  Digest put_chunk(std::span<const std::uint8_t> bytes);
  // Counts on a chunk without bringing its bytes: true when it is there, and from then on as if it had been put.
  bool claim_chunk(const Digest& digest);
  // Writes a chunk over a damaged or missing one; durable when it returns. Throws as put_chunk.
  void replace_chunk(const Digest& digest, std::span<const std::uint8_t> bytes);
  // Throws Error(corrupt) when the chunk is missing or damaged.
  Bytes get_chunk(const Digest& digest) const;
  bool has_chunk(const Digest& digest) const;
  // The size without reading the chunk; nothing when it is not in the store.
  std::optional<std::uint64_t> chunk_size_bytes(const Digest& digest) const;

  // --- Commits ------------------------------------------------------------------------------------
  // When it returns, all of `commit` and every chunk it names survive a crash. Returns the commit's
  // number; an empty commit writes nothing and returns the current one. Throws Error(failed) when a
  // chunk it names is not in the store (put it again: chunks put before a reopen() and never
  // committed may be gone), Error(bad_input) for a ref to an unknown object or one that the collector took,
  // Error(refused) for a ref to an object without the signature that the policy demands, or that its organisation's
  // quota has no room for; nothing is written then.
  std::uint64_t commit(const Commit& commit);
  std::uint64_t commit_number() const;

  // --- Objects and names --------------------------------------------------------------------------
  // Throws Error(bad_input) when there is no such object.
  StoredObject get_object(const Digest& digest) const;
  bool has_object(const Digest& digest) const;
  // Digests of all objects, ascending.
  std::vector<Digest> list_objects() const;
  // The digest meant by a name, by 64 hexadecimal characters, or by a prefix of at least 6 of them
  // that only one object has; a name wins. Throws Error(bad_input) when nothing or more than one fits.
  Digest resolve(std::string_view name_or_digest) const;
  std::optional<Ref> find_ref(std::string_view name) const;
  // The names that are set, ascending.
  std::vector<Ref> list_refs() const;
  // Every change of a name, oldest first; empty for a name never used.
  std::vector<Ref> ref_history(std::string_view name) const;

  // --- Journal and results ------------------------------------------------------------------------
  // All events of a job, oldest first, the hash chain checked; empty for an unknown job.
  std::vector<JournalEvent> read_journal(std::string_view job_id) const;
  std::vector<std::string> list_jobs() const;
  std::optional<Bytes> get_result(std::string_view key) const;
  // Calls `visit` for every result whose key starts with `prefix`, by ascending key, until it returns
  // false. The view of the key lives until `visit` returns.
  void scan_results(std::string_view prefix,
                    const std::function<bool(std::string_view key, Bytes bytes)>& visit) const;

  // --- Care ---------------------------------------------------------------------------------------
  // Reads everything and checks every digest, chain and reference. Throws only for a bug.
  VerifyReport verify(const ObjectCheck& check = {}) const;
  VerifyReport verify(const VerifyOptions& options) const;
  // What the store holds itself to; changed by commits (policy.h).
  StorePolicy policy() const;
  // The bytes of all chunks, each counted once.
  std::uint64_t stored_bytes() const;
  // Those of everything that an organisation's names point at, each counted once for it.
  std::uint64_t organisation_bytes(std::string_view organisation) const;
  // What the signatures kept of an object are worth to the policy's keys.
  Judgement judge(const Digest& object) const;
  // Takes the chunks of what is not alive (collector.h). Publishes and readers go on. Throws Error(corrupt) when
  // the catalog is damaged, and then takes nothing; Error(failed).
  CollectReport collect(const CollectOptions& options);
  // Makes the new directory `to` a store with everything committed so far, as of one moment; commits wait
  // meanwhile. Data files are hard links where the file system has them, so `to` should be on the same one.
  // Throws Error(bad_input) when `to` exists, Error(failed).
  void checkpoint(const std::filesystem::path& to);
  // Why writes are refused; nothing while they are not.
  std::optional<std::string> read_only_reason() const;
  // Opens the databases again, with open()'s checks, and allows writes. Throws Error(failed), and
  // leaves the store readable, while the disk still takes no writes.
  void reopen();

 private:
  struct State;
  explicit ArtifactStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace quench::coordinator
