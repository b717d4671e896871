#include "coordinator/store/artifact_store.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <shared_mutex>
#include <utility>

#include "coordinator/store/catalog.h"
#include "coordinator/store/chunks.h"
#include "coordinator/store/collector.h"
#include "coordinator/store/databases.h"
#include "coordinator/store/disk.h"
#include "coordinator/store/keys.h"
#include "coordinator/store/store_lock.h"
#include "coordinator/store/verify.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

// Chunks are removed in batches, between which commits and puts go on.
constexpr std::size_t kCollectBatch = 2048;
// Room that writing blob files anew leaves on the disk for everybody else.
constexpr std::uint64_t kRewriteMarginBytes = 256u << 20;

// reopen() asks the disk for this much before it lets go of databases that can still be read: RocksDB
// needs a new MANIFEST and log for each of them.
constexpr std::size_t kReopenProbeBytes = 4u << 20;

bool is_store(const fs::path& directory) { return fs::exists(directory / "HEAD"); }

// Throws unless `directory` may become a store: missing, empty, or left by an interrupted create.
void check_creatable(const fs::path& directory) {
  if (!fs::exists(directory)) return;
  if (fs::exists(directory / Databases::kCreatingName)) return;
  if (fs::exists(directory / "catalog") || fs::exists(directory / "chunks"))
    throw Error(ErrorCode::corrupt,
                "the store " + directory.string() + " has lost its HEAD file: restore the store from a copy");
  for (const fs::directory_entry& entry : fs::directory_iterator(directory))
    if (const fs::path name = entry.path().filename(); name != "LOCK" && name != "quench.sock")
      throw Error(ErrorCode::bad_input, directory.string() + " is not a store: it has no HEAD, and holds " +
                                            name.string() +
                                            "; name a store, or an empty or new directory to make one");
}

// Throws Error(bad_input) when `directory` cannot be opened in `mode`.
void check_directory(const fs::path& directory, OpenMode mode) {
  if (fs::exists(directory) && !fs::is_directory(directory))
    throw Error(ErrorCode::bad_input, directory.string() + " is a file; expected the directory of a store");
  const int needed = mode == OpenMode::read_only ? R_OK | X_OK : R_OK | W_OK | X_OK;
  if (fs::exists(directory) && ::access(directory.c_str(), needed) != 0)
    throw errno_error(ErrorCode::bad_input, "the store " + directory.string() + " may not be opened", errno);
  if (is_store(directory)) return;
  check_creatable(directory);
  if (mode != OpenMode::create)
    throw Error(ErrorCode::bad_input,
                "there is no store in " + directory.string() + ": `quench run --store` makes one");
}

// std::filesystem's own exceptions (permissions, a file where a directory should be) become ours here.
template <typename Body>
auto translating(const fs::path& directory, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const fs::filesystem_error& error) {
    if (error.code() == std::errc::no_space_on_device)
      throw Error(ErrorCode::failed, disk_full_text(directory));
    throw Error(ErrorCode::bad_input, "cannot use " + directory.string() +
                                          " as a store: " + error.code().message() + " (" +
                                          error.path1().string() + "); name a directory that you may write");
  }
}

}  // namespace

void require_weights(const StoredObject& object, std::string_view ref) {
  if (!object.collected_ms) return;
  throw Error(ErrorCode::bad_input, std::string(ref) + " (" + object.digest.short_hex() +
                                        ") has no weights here any more: the collector took them, and its record is left; "
                                        "pull or import it, or quantize it again");
}

struct ArtifactStore::State {
  fs::path directory;
  OpenMode mode;
  LogSink log;
  StoreLock lock;
  // Shared by every call that uses the databases, exclusive to reopen().
  mutable std::shared_mutex gate;
  std::unique_ptr<Databases> databases;  // none after a reopen() that could not even read
  std::mutex commit_mutex;
  OpenPublishes publishes;
  std::mutex collect_mutex;  // one collection at a time; taken before commit_mutex
  bool collecting = false;   // with commit_mutex: commits note what they name
  std::vector<Digest> named_meanwhile;
  std::vector<std::string> jobs_meanwhile;
  mutable std::mutex policy_mutex;
  mutable std::optional<StorePolicy> policy_read;
  mutable std::mutex reason_mutex;
  std::optional<std::string> read_only_reason;

  State(const fs::path& where, OpenMode how, LogSink sink)
      : directory(where), mode(how), log(std::move(sink)), lock(where) {}

  Databases::Access access() const {
    return mode == OpenMode::read_only ? Databases::Access::read_only : Databases::Access::read_write;
  }

  // `digest` is that of `bytes`.
  void put_chunk(const Digest& digest, std::span<const std::uint8_t> bytes);

  StorePolicy policy(const Databases& open) const {
    const std::lock_guard guard(policy_mutex);
    if (!policy_read)
      policy_read = read_policy([&](std::string_view key) { return open.catalog().get_setting(key); },
                                [&](std::string_view prefix) { return open.catalog().list_settings(prefix); });
    return *policy_read;
  }
  void forget_policy() {
    const std::lock_guard guard(policy_mutex);
    policy_read.reset();
  }

  void check_quota(const Databases& open, const Digest& digest, std::size_t bytes) const {
    const std::optional<std::uint64_t> quota = policy(open).quota_bytes;
    if (!quota || open.chunks().size_bytes(digest)) return;
    const std::uint64_t stored = open.chunks().stored_bytes();
    if (stored + bytes <= *quota) return;
    throw Error(ErrorCode::refused, "the quota of the store " + directory.string() + " is full: " +
                                        std::to_string(stored / 1000000) + " of " + std::to_string(*quota / 1000000) +
                                        " MB are taken; remove names with `quench artifacts rm` and run `quench artifacts "
                                        "gc`, or raise it with `quench artifacts policy --quota`");
  }

  Judgement judge(const Databases& open, const Digest& object, const Commit* commit = nullptr) const {
    std::vector<std::string> envelopes;
    const std::string prefix = signature_prefix(object);
    open.catalog().scan_results(prefix, [&](std::string_view, const Bytes& bytes) {
      envelopes.emplace_back(as_text(bytes));
      return true;
    });
    if (commit != nullptr)
      for (const Commit::Result& result : commit->results())
        if (result.key.starts_with(prefix)) envelopes.emplace_back(as_text(result.bytes));
    return judge_signatures(object, envelopes, policy(open).keys);
  }

  void check_signatures(const Databases& open, const Commit& commit) const {
    if (commit.ref_changes().empty() || !policy(open).demands_signatures) return;
    for (const Commit::RefChange& change : commit.ref_changes()) {
      if (change.object.is_none()) continue;
      const Judgement judgement = judge(open, change.object, &commit);
      if (judgement.standing != Standing::trusted)
        throw Error(ErrorCode::refused, "the store " + directory.string() + " demands signatures, and what \"" + change.name +
                                            "\" is to point at (" + change.object.short_hex() +
                                            ") has none that it trusts: " + judgement.reason +
                                            "; sign it (`quench artifacts sign`, or QUENCH_SIGNING_KEY for a job) with a "
                                            "key of `quench artifacts trust ls`");
    }
  }

  std::optional<std::string> reason() const {
    const std::lock_guard guard(reason_mutex);
    return read_only_reason;
  }

  void set_reason(std::optional<std::string> text) {
    const std::lock_guard guard(reason_mutex);
    read_only_reason = std::move(text);
  }

  Databases& open_databases() const {
    if (!databases)
      throw Error(ErrorCode::failed,
                  "the store " + directory.string() + " is closed: " + reason().value_or(""));
    return *databases;
  }

  template <typename Body>
  auto reading(Body&& body) const {
    const std::shared_lock hold(gate);
    return body(open_databases());
  }

  // Runs one write; a failure of the disk ends writing until reopen().
  template <typename Body>
  auto writing(Databases& open, Body&& body) {
    if (mode == OpenMode::read_only)
      throw Error(ErrorCode::bad_input, "the store " + directory.string() + " was opened for reading only");
    if (const std::optional<std::string> why = reason())
      throw Error(ErrorCode::failed,
                  "the store " + directory.string() + " takes no writes since one failed: " + *why);
    try {
      return body(open);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::failed) set_reason(error.what());
      throw;
    }
  }
};

ArtifactStore ArtifactStore::open(const fs::path& directory, OpenMode mode, LogSink log) {
  return translating(directory, [&] {
    check_directory(directory, mode);
    if (mode == OpenMode::create) fs::create_directories(directory);
    auto state = std::make_unique<State>(directory, mode, std::move(log));
    // Again, now that nobody else can be making or removing a store here.
    check_directory(directory, mode);
    if (!is_store(directory)) Databases::create(directory, state->log);
    state->databases = std::make_unique<Databases>(directory, state->access(), state->log);
    return ArtifactStore(std::move(state));
  });
}

ArtifactStore::ArtifactStore(std::unique_ptr<State> state) : state_(std::move(state)) {}
ArtifactStore::ArtifactStore(ArtifactStore&&) noexcept = default;
ArtifactStore::~ArtifactStore() = default;

const fs::path& ArtifactStore::directory() const { return state_->directory; }
fs::path ArtifactStore::socket_path() const { return state_->directory / "quench.sock"; }

// --- Chunks -----------------------------------------------------------------------------------------

void ArtifactStore::put_chunk(const Digest& digest, std::span<const std::uint8_t> bytes) {
  if (bytes.empty()) throw Error(ErrorCode::bad_input, "a chunk has no bytes");
  check_size("chunk " + digest.short_hex(), bytes.size(), kChunkBytesMax);
  if (const Digest actual = sha256(bytes); actual != digest)
    throw Error(ErrorCode::corrupt, "chunk " + digest.hex() + " came with the bytes of " + actual.hex());
  state_->put_chunk(digest, bytes);
}

Digest ArtifactStore::put_chunk(std::span<const std::uint8_t> bytes) {
  if (bytes.empty()) throw Error(ErrorCode::bad_input, "a chunk has no bytes");
  check_size("a chunk", bytes.size(), kChunkBytesMax);
  const Digest digest = sha256(bytes);
  state_->put_chunk(digest, bytes);
  return digest;
}

void ArtifactStore::State::put_chunk(const Digest& digest, std::span<const std::uint8_t> bytes) {
  reading([&](Databases& open) {
    check_quota(open, digest, bytes.size());
    writing(open, [&](Databases& writable) { writable.chunks().put(digest, bytes, publishes); });
  });
}

bool ArtifactStore::claim_chunk(const Digest& digest) {
  return state_->reading([&](Databases& open) { return open.chunks().claim(digest, state_->publishes); });
}

void ArtifactStore::replace_chunk(const Digest& digest, std::span<const std::uint8_t> bytes) {
  if (const Digest actual = sha256(bytes); actual != digest)
    throw Error(ErrorCode::corrupt, "chunk " + digest.hex() + " came with the bytes of " + actual.hex());
  state_->reading([&](Databases& open) {
    state_->writing(open, [&](Databases& writable) { writable.chunks().replace(digest, bytes); });
  });
}

Bytes ArtifactStore::get_chunk(const Digest& digest) const {
  return state_->reading([&](Databases& open) { return open.chunks().get(digest); });
}

bool ArtifactStore::has_chunk(const Digest& digest) const { return chunk_size_bytes(digest).has_value(); }

std::optional<std::uint64_t> ArtifactStore::chunk_size_bytes(const Digest& digest) const {
  return state_->reading([&](Databases& open) { return open.chunks().size_bytes(digest); });
}

// --- Commits ----------------------------------------------------------------------------------------

std::uint64_t ArtifactStore::commit(const Commit& commit) {
  std::vector<Digest> referred;
  for (const Commit::Object& object : commit.objects())
    referred.insert(referred.end(), object.chunks.begin(), object.chunks.end());
  for (const Commit::Event& event : commit.events())
    referred.insert(referred.end(), event.chunks.begin(), event.chunks.end());
  std::ranges::sort(referred);
  referred.erase(std::ranges::unique(referred).begin(), referred.end());

  return state_->reading([&](Databases& open) {
    const std::lock_guard one_at_a_time(state_->commit_mutex);
    if (commit.empty()) return open.commit_number();
    for (const Digest& digest : referred)
      if (!open.chunks().size_bytes(digest))
        throw Error(ErrorCode::failed, "chunk " + digest.hex() +
                                           " is not in the store: it must be put "
                                           "before a commit refers to it");
    state_->check_signatures(open, commit);
    state_->writing(open, [&](Databases& writable) {
      writable.chunks().flush_for(referred);
      writable.apply(commit);
    });
    state_->publishes.settle(referred);
    if (!commit.settings().empty()) state_->forget_policy();
    if (state_->collecting) {
      for (const Commit::Object& object : commit.objects()) state_->named_meanwhile.push_back(object.digest);
      for (const Commit::RefChange& change : commit.ref_changes()) state_->named_meanwhile.push_back(change.object);
      for (const Commit::Event& event : commit.events()) state_->jobs_meanwhile.push_back(event.job_id);
    }
    return open.commit_number();
  });
}

std::uint64_t ArtifactStore::commit_number() const {
  return state_->reading([&](Databases& open) {
    const std::lock_guard one_at_a_time(state_->commit_mutex);
    return open.commit_number();
  });
}

// --- Objects and names ------------------------------------------------------------------------------

StoredObject ArtifactStore::get_object(const Digest& digest) const {
  return state_->reading([&](Databases& open) {
    std::optional<StoredObject> object = open.catalog().get_object(digest);
    if (!object)
      throw Error(ErrorCode::bad_input,
                  "the store " + state_->directory.string() + " has no object " + digest.hex());
    return *std::move(object);
  });
}

bool ArtifactStore::has_object(const Digest& digest) const {
  return state_->reading([&](Databases& open) { return open.catalog().has_object(digest); });
}

std::vector<Digest> ArtifactStore::list_objects() const {
  return state_->reading([&](Databases& open) { return open.catalog().list_objects(); });
}

Digest ArtifactStore::resolve(std::string_view text) const {
  const auto unknown = [&] {
    return Error(ErrorCode::bad_input, "\"" + std::string(text.substr(0, kNameBytesMax)) +
                                           "\" is no name and no digest of the store " +
                                           state_->directory.string() + ": `quench artifacts ls` lists them");
  };
  if (!is_digest_prefix(text)) check_name("name", text);
  if (text.size() < 64)
    if (const std::optional<Ref> ref = find_ref(text)) return ref->object;
  if (!is_digest_prefix(text)) throw unknown();
  std::string wanted(text);
  std::ranges::transform(wanted, wanted.begin(),
                         [](char c) { return c >= 'A' && c <= 'F' ? char(c + 32) : c; });
  // The catalog is in the order of the digests; the bytes that the prefix covers narrow the scan.
  const std::string whole = wanted.substr(0, wanted.size() / 2 * 2);
  const Digest padded = Digest::from_hex(whole + std::string(64 - whole.size(), '0'));
  std::vector<Digest> found = state_->reading([&](Databases& open) {
    return open.catalog().list_objects(as_text(padded.bytes).substr(0, whole.size() / 2));
  });
  std::erase_if(found, [&](const Digest& digest) { return !digest.hex().starts_with(wanted); });
  if (found.empty()) throw unknown();
  if (found.size() > 1)
    throw Error(ErrorCode::bad_input, "the digest prefix " + wanted + " fits " +
                                          std::to_string(found.size()) + " objects, " + found[0].hex() +
                                          " and " + found[1].hex() + " among them: give more of it");
  return found.front();
}

std::optional<Ref> ArtifactStore::find_ref(std::string_view name) const {
  check_name("name", name);
  return state_->reading([&](Databases& open) {
    std::optional<Ref> ref = open.catalog().newest_ref(name);
    if (ref && ref->object.is_none()) ref.reset();
    return ref;
  });
}

std::vector<Ref> ArtifactStore::list_refs() const {
  return state_->reading([&](Databases& open) { return open.catalog().list_refs(); });
}

std::vector<Ref> ArtifactStore::ref_history(std::string_view name) const {
  check_name("name", name);
  return state_->reading([&](Databases& open) { return open.catalog().ref_history(name); });
}

// --- Journal and results ----------------------------------------------------------------------------

std::vector<JournalEvent> ArtifactStore::read_journal(std::string_view job_id) const {
  check_name("job", job_id);
  return state_->reading([&](Databases& open) { return open.catalog().read_journal(job_id); });
}

std::vector<std::string> ArtifactStore::list_jobs() const {
  return state_->reading([&](Databases& open) { return open.catalog().list_jobs(); });
}

std::optional<Bytes> ArtifactStore::get_result(std::string_view key) const {
  return state_->reading([&](Databases& open) { return open.catalog().get_result(key); });
}

void ArtifactStore::scan_results(std::string_view prefix,
                                 const std::function<bool(std::string_view, Bytes)>& visit) const {
  state_->reading([&](Databases& open) { open.catalog().scan_results(prefix, visit); });
}

// --- Care -------------------------------------------------------------------------------------------

VerifyReport ArtifactStore::verify(const ObjectCheck& check) const { return verify(VerifyOptions{check, 1, 0}); }

VerifyReport ArtifactStore::verify(const VerifyOptions& options) const {
  return state_->reading(
      [&](Databases& open) { return verify_records(open.chunks(), open.catalog(), options); });
}

StorePolicy ArtifactStore::policy() const {
  return state_->reading([&](Databases& open) { return state_->policy(open); });
}

std::uint64_t ArtifactStore::stored_bytes() const {
  return state_->reading([&](Databases& open) { return open.chunks().stored_bytes(); });
}

Judgement ArtifactStore::judge(const Digest& object) const {
  return state_->reading([&](Databases& open) { return state_->judge(open, object); });
}

CollectReport ArtifactStore::collect(const CollectOptions& options) {
  const std::lock_guard one_collection(state_->collect_mutex);
  return state_->reading([&](Databases& open) {
    CollectReport report;
    report.file_bytes_before = open.chunks().space().file_bytes;
    {
      const std::lock_guard no_commit(state_->commit_mutex);
      state_->collecting = true;
      state_->publishes.begin_collection();
    }
    struct Ending {
      State& state;
      ~Ending() {
        const std::lock_guard no_commit(state.commit_mutex);
        state.collecting = false;
        state.named_meanwhile.clear();
        state.jobs_meanwhile.clear();
        state.publishes.end_collection();
      }
    } const ending{*state_};

    Marked marked = mark(open.catalog(), options);
    {
      const std::lock_guard no_commit(state_->commit_mutex);
      revive(marked, open.catalog(), options, state_->named_meanwhile, state_->jobs_meanwhile);
      Commit commit;
      for (const Digest& digest : marked.dead) commit.collect_object(digest, options.now_ms);
      for (const std::string& job_id : marked.released_jobs) commit.release_journal(job_id);
      for (const std::string& job_id : marked.forgotten_jobs) commit.forget_journal(job_id);
      if (!options.dry_run && !commit.empty())
        state_->writing(open, [&](Databases& writable) { writable.apply(commit); });
    }
    // From here on nothing can make a dead object alive again without bringing its chunks.
    const DigestSet alive = alive_chunks(open.catalog(), marked);
    std::vector<Digest> batch;
    const auto remove_batch = [&] {
      const std::lock_guard no_commit(state_->commit_mutex);
      state_->writing(open, [&](Databases& writable) {
        report.bytes_removed += writable.chunks().remove(batch, state_->publishes);
      });
      batch.clear();
    };
    open.chunks().scan_sizes([&](const Digest& digest, std::uint64_t size_bytes) {
      const bool held = state_->publishes.holds(digest);
      if (alive.contains(digest) || held) {
        ++report.chunks_kept;
        report.chunks_open += held && !alive.contains(digest);
        return true;
      }
      ++report.chunks_removed;
      if (options.dry_run) {
        report.bytes_removed += size_bytes;
        return true;
      }
      batch.push_back(digest);
      if (batch.size() == kCollectBatch) remove_batch();
      return true;
    });
    if (!batch.empty()) remove_batch();
    report.objects = std::move(marked.dead);
    report.released_jobs = std::move(marked.released_jobs);
    report.forgotten_jobs = std::move(marked.forgotten_jobs);
    report.objects_kept = marked.objects.size();
    report.file_bytes_after = report.file_bytes_before;
    if (options.dry_run) return report;
    state_->writing(open, [&](Databases& writable) {
      if (report.chunks_removed > 0) writable.chunks().compact(Database::Compaction::drop);
      const Database::BlobSpace space = writable.chunks().space();
      if (space.garbage_bytes > 0 &&
          static_cast<double>(space.garbage_bytes) >= options.rewrite_share * static_cast<double>(space.file_bytes)) {
        const std::uint64_t live = space.file_bytes - std::min(space.garbage_bytes, space.file_bytes);
        std::error_code unknown;
        const fs::space_info disk = fs::space(state_->directory, unknown);
        if (!unknown && disk.available < live + kRewriteMarginBytes) {
          report.note = std::to_string(space.garbage_bytes / 1000000) +
                        " MB of dead bytes stay in files that others share: writing those anew needs " +
                        std::to_string((live + kRewriteMarginBytes) / 1000000) + " MB of free disk";
        } else {
          writable.chunks().compact(Database::Compaction::rewrite);
        }
      }
    });
    report.file_bytes_after = open.chunks().space().file_bytes;
    return report;
  });
}

void ArtifactStore::checkpoint(const fs::path& to) {
  if (fs::exists(to))
    throw Error(ErrorCode::bad_input, to.string() + " is there already: name a directory that is not");
  state_->reading([&](Databases& open) {
    const std::lock_guard no_commit(state_->commit_mutex);
    // A store that takes no writes cannot bring what is in memory to its files.
    state_->writing(open, [&](Databases& writable) { writable.checkpoint(to); });
  });
}

std::optional<std::string> ArtifactStore::read_only_reason() const { return state_->reason(); }

void ArtifactStore::reopen() {
  const std::unique_lock alone(state_->gate);
  if (state_->mode != OpenMode::read_only) probe_writable(state_->directory, kReopenProbeBytes);
  state_->databases.reset();
  try {
    state_->databases = std::make_unique<Databases>(state_->directory, state_->access(), state_->log);
    state_->set_reason(std::nullopt);
  } catch (const Error& error) {
    state_->set_reason(error.what());
    // Damage stays refused; a disk that takes no writes may still be read.
    if (error.code() == ErrorCode::failed)
      state_->databases =
          std::make_unique<Databases>(state_->directory, Databases::Access::read_only, state_->log);
    throw;
  }
}

}  // namespace quench::coordinator
