#include "coordinator/store/artifact_store.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "coordinator/store/disk.h"
#include "coordinator/store/keys.h"
#include "coordinator/store/store_state.h"
#include "coordinator/store/verify.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

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
    if (is_full(error.code().value()))
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
    state_->check_organisations(open, commit);
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

std::uint64_t ArtifactStore::stored_bytes() const {
  return state_->reading([&](Databases& open) { return open.chunks().stored_bytes(); });
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
