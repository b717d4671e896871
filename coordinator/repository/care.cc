#include "coordinator/repository/care.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <set>

#include "coordinator/report/words.h"
#include "coordinator/store/disk.h"
#include "coordinator/store/store_lock.h"
#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr std::uint64_t kDayMs = 24ull * 3600 * 1000;
constexpr std::string_view kLinksName = ".backup-";
constexpr std::size_t kCopyBytes = 4 << 20;

// What an intact object is worth here. One that does not decode is unverifiable rather than corrupt: its digest fits.
ObjectOpinion opinion_of(const StoredObject& object, const std::function<std::vector<std::string>(const Digest&)>& envelopes,
                         const StorePolicy& policy) {
  try {
    decode_manifest(object.bytes);
  } catch (const Error& error) {
    return {ObjectOpinion::Kind::unverifiable, error.what()};
  }
  // A store that trusts nobody by name has no opinion on who signed.
  if (policy.keys.empty() && !policy.demands_signatures) return {};
  if (object.collected_ms) return {};
  const Judgement judgement = judge_signatures(object.digest, envelopes(object.digest), policy.keys);
  if (judgement.standing == Standing::trusted) return {};
  return {judgement.standing == Standing::unknown_key ? ObjectOpinion::Kind::unverifiable : ObjectOpinion::Kind::untrusted,
          judgement.reason};
}

VerifyReport verify_all(const ArtifactStore& store, VerifyOptions options) {
  // Taken before the walk: a visitor may not ask the store for more.
  const StorePolicy policy = store.policy();
  std::map<Digest, std::vector<std::string>> signatures;
  store.scan_results("signature/", [&](std::string_view key, const Bytes& bytes) {
    constexpr std::size_t kPrefix = sizeof "signature/" - 1;
    if (key.size() > kPrefix + 64)
      signatures[Digest::from_hex(key.substr(kPrefix, 64))].emplace_back(as_text(bytes));
    return true;
  });
  options.check = [&](const StoredObject& object) {
    return opinion_of(
        object,
        [&](const Digest& digest) {
          const auto found = signatures.find(digest);
          return found == signatures.end() ? std::vector<std::string>{} : found->second;
        },
        policy);
  };
  return store.verify(options);
}

std::string report_text(const VerifyReport& report, const std::string& scope) {
  std::string text = fmt::format("checked {} chunks ({} MB){}, {} objects, {} names, {} journal events, {} results\n", report.chunks,
                                 megabytes(report.chunk_bytes), scope, report.objects, report.refs, report.events, report.results);
  for (const std::string& finding : report.findings) text += finding + "\n";
  return text + (report.exit_status() == 0 ? "everything has its digest\n"
                                           : fmt::format("{} corrupt, {} untrusted, {} unverifiable\n", report.corrupt,
                                                         report.untrusted, report.unverifiable));
}

ordered_json report_json(const VerifyReport& report) {
  return {{"chunks", report.chunks},       {"chunk_bytes", report.chunk_bytes}, {"objects", report.objects},
          {"refs", report.refs},           {"events", report.events},           {"results", report.results},
          {"corrupt", report.corrupt},     {"untrusted", report.untrusted},     {"unverifiable", report.unverifiable},
          {"findings", report.findings}};
}

void copy_file_synced(const fs::path& from, const fs::path& to) {
  const File source(from, O_RDONLY);
  File target(to, O_WRONLY | O_CREAT | O_EXCL);
  for (std::uint64_t offset = 0;;) {
    const std::string bytes = source.read_at(offset, kCopyBytes);
    if (bytes.empty()) break;
    target.write_at(offset, bytes);
    offset += bytes.size();
  }
  target.sync();
}

// The parts of a store that are the store: databases, then HEAD, without which there is no store to open.
std::uint64_t copy_store_files(const fs::path& from, const fs::path& to) {
  std::uint64_t bytes = 0;
  fs::create_directories(to);
  for (const char* database : {"chunks", "catalog"}) {
    fs::create_directories(to / database);
    for (const fs::directory_entry& entry : fs::directory_iterator(from / database)) {
      if (!entry.is_regular_file() || entry.path().filename() == "LOCK") continue;
      copy_file_synced(entry.path(), to / database / entry.path().filename());
      bytes += entry.file_size();
    }
    sync_directory(to / database);
  }
  copy_file_synced(from / "HEAD", to / "HEAD");
  sync_directory(to);
  return bytes;
}

class Scratch {
 public:
  explicit Scratch(fs::path path) : path_(std::move(path)) {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

void require_free(const fs::path& to, const char* option) {
  if (fs::exists(to))
    throw Error(ErrorCode::bad_input, std::string(option) + " " + to.string() + " is there already: name a directory that is not");
  if (!to.parent_path().empty() && !fs::is_directory(to.parent_path()))
    throw Error(ErrorCode::bad_input, to.parent_path().string() + " is no directory: make it first");
}

// std::filesystem's own exceptions become ours here.
template <typename Body>
auto on_disk(const fs::path& to, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const fs::filesystem_error& error) {
    if (is_full(error.code().value())) throw Error(ErrorCode::failed, disk_full_text(to));
    throw Error(ErrorCode::failed, "cannot write " + to.string() + ": " + error.what());
  }
}

}  // namespace

int verify_store(const ArtifactStore& store, const VerifyChoice& choice, std::uint64_t now_ms, bool json, std::string& out) {
  VerifyOptions options;
  options.shares = choice.shares;
  options.share = choice.share.value_or(now_ms / kDayMs % choice.shares);
  if (options.share >= options.shares)
    throw Error(ErrorCode::bad_input, fmt::format("--share {}: expected 0 to {}", options.share, options.shares - 1));
  const VerifyReport report = verify_all(store, options);
  if (json) {
    ordered_json document = report_json(report);
    if (choice.shares > 1) document["share"] = {{"share", options.share}, {"shares", options.shares}};
    out = document.dump(2) + "\n";
  } else {
    out = report_text(report, choice.shares > 1 ? fmt::format(", share {} of {}", options.share, options.shares) : "");
  }
  return report.exit_status();
}

int repair_store(ArtifactStore& store, const ArtifactStore& other, bool json, std::string& out) {
  const VerifyReport before = verify_all(store, {});
  const std::set<Digest> chunks(before.damaged_chunks.begin(), before.damaged_chunks.end());
  std::uint64_t chunks_repaired = 0, objects_repaired = 0;
  std::string text;
  for (const Digest& digest : chunks) {
    try {
      store.replace_chunk(digest, other.get_chunk(digest));
      ++chunks_repaired;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::corrupt) throw;
      text += "chunk " + digest.hex() + ": " + other.directory().string() + " cannot give it either\n";
    }
  }
  for (const Digest& digest : before.damaged_objects) {
    if (!other.has_object(digest)) {
      text += "object " + digest.hex() + ": " + other.directory().string() + " does not have it\n";
      continue;
    }
    const StoredObject object = other.get_object(digest);
    for (const Digest& chunk : object.chunks)
      if (!store.has_chunk(chunk)) store.replace_chunk(chunk, other.get_chunk(chunk));
    store.commit(Commit().put_object(object.digest, object.bytes, object.chunks));
    ++objects_repaired;
  }
  const VerifyReport after = verify_all(store, {});
  if (json) {
    ordered_json document = report_json(after);
    document["chunks_repaired"] = chunks_repaired;
    document["objects_repaired"] = objects_repaired;
    out = document.dump(2) + "\n";
  } else {
    out = text + fmt::format("{} chunks and {} objects repaired\n", chunks_repaired, objects_repaired) + report_text(after, "");
  }
  return after.exit_status();
}

std::string back_up_store(ArtifactStore& store, const fs::path& to, BackupKind kind, bool json) {
  require_free(to, "--to");
  return on_disk(to, [&] {
    // What a backup that was killed has left; only the store's owner makes them, one at a time.
    for (const fs::directory_entry& entry : fs::directory_iterator(store.directory()))
      if (entry.path().filename().string().starts_with(kLinksName)) fs::remove_all(entry.path());
    // On the store's own disk, so that the moment when commits wait is short, wherever the backup goes.
    const Scratch links(store.directory() / (std::string(kLinksName) + std::to_string(::getpid())));
    store.checkpoint(links.path());
    std::uint64_t bytes = 0;
    if (kind == BackupKind::linked) {
      for (const fs::directory_entry& entry : fs::recursive_directory_iterator(links.path()))
        if (entry.is_regular_file()) bytes += entry.file_size();
      std::error_code error;
      fs::rename(links.path(), to, error);
      if (error)
        throw Error(ErrorCode::bad_input, "cannot link the backup into " + to.string() + ": " + error.message() +
                                              "; links stay on one file system, leave --link out to copy");
    } else {
      const Scratch partial(to.string() + ".partial-" + std::to_string(::getpid()));
      bytes = copy_store_files(links.path(), partial.path());
      fs::rename(partial.path(), to);
    }
    sync_directory(fs::absolute(to).parent_path());
    if (json) return ordered_json{{"to", to.string()}, {"bytes", bytes}, {"linked", kind == BackupKind::linked}}.dump(2) + "\n";
    return fmt::format("{}: {} MB{}\n", to.string(), megabytes(bytes), kind == BackupKind::linked ? ", shared with the store's own files" : "");
  });
}

std::string restore_store(const fs::path& from, const fs::path& to, bool json) {
  require_free(to, "--store");
  if (!fs::is_regular_file(from / "HEAD"))
    throw Error(ErrorCode::bad_input, from.string() + " is no backup of a store: it has no HEAD; `quench artifacts backup --to DIR` makes one");
  return on_disk(to, [&] {
    const Scratch partial(to.string() + ".partial-" + std::to_string(::getpid()));
    const StoreLock at_rest(from);  // a store in use changes while it is copied
    const std::uint64_t bytes = copy_store_files(from, partial.path());
    std::uint64_t commit = 0;
    {
      const ArtifactStore store = ArtifactStore::open(partial.path(), OpenMode::existing);
      const VerifyReport report = verify_all(store, {});
      if (report.corrupt > 0)
        throw Error(ErrorCode::corrupt, "the backup " + from.string() + " is damaged, and nothing was restored: " +
                                            report.findings.front() + "; open it with --store and repair it from another store first");
      commit = store.commit_number();
    }
    fs::rename(partial.path(), to);
    sync_directory(fs::absolute(to).parent_path());
    if (json) return ordered_json{{"store", to.string()}, {"bytes", bytes}, {"commit", commit}}.dump(2) + "\n";
    return fmt::format("{}: {} MB, commit {}, everything has its digest\n", to.string(), megabytes(bytes), commit);
  });
}

}  // namespace quench::coordinator
