#include "coordinator/transfer.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "coordinator/store/keys.h"
#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

class Transfer {
 public:
  Transfer(TransferSource& from, TransferSink& to, std::uint64_t now_ms) : from_(from), to_(to), now_ms_(now_ms) {}

  void object(const StoredObject& object) {
    done_.chunks += object.chunks.size();
    for (std::size_t first = 0; first < object.chunks.size(); first += kAskedTogether)
      copy(to_.missing_chunks(std::span(object.chunks).subspan(first, std::min(kAskedTogether, object.chunks.size() - first))));
    commit_.put_object(object.digest, object.bytes, object.chunks);
    for (const auto& [key, bytes] : from_.records(object.digest))
      if (!to_.has_record(key)) commit_.put_result(key, bytes);
  }

  void set_of(const Digest& digest) {
    if (digest.is_none()) return;
    const std::optional<StoredObject> set = from_.object(digest);
    if (!set || set->collected_ms) return;
    object(*set);
    for (const std::string& name : from_.names(digest))
      if (!to_.find_ref(name)) commit_.expect_ref(name, Digest{}).set_ref(name, digest, now_ms_);
  }

  void name(const std::string& name, const Digest& digest) { claim_name(to_, commit_, name, digest, now_ms_); }

  Transferred finish(const Digest& digest, const std::string& name) {
    to_.publish(commit_);
    done_.digest = digest;
    done_.name = name;
    return done_;
  }

 private:
  static constexpr std::size_t kAskedTogether = 1000;

  void copy(const std::vector<Digest>& missing) {
    std::atomic<std::size_t> next = 0;
    std::atomic<std::uint64_t> bytes_copied = 0;
    std::mutex mutex;
    std::exception_ptr failure;
    const auto lane = [&] {
      try {
        for (std::size_t i = next++; i < missing.size(); i = next++) {
          const Bytes bytes = from_.chunk(missing[i]);
          to_.put_chunk(missing[i], bytes);
          bytes_copied += bytes.size();
        }
      } catch (...) {
        next = missing.size();
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
      }
    };
    {
      std::vector<std::jthread> lanes;
      const auto others = std::min<std::size_t>(static_cast<std::size_t>(std::max(from_.lanes(), to_.lanes())), missing.size());
      for (std::size_t i = 1; i < others; ++i) lanes.emplace_back(lane);
      lane();
    }
    if (failure) std::rethrow_exception(failure);
    done_.chunks_copied += missing.size();
    done_.bytes_copied += bytes_copied;
  }

  TransferSource& from_;
  TransferSink& to_;
  std::uint64_t now_ms_;
  Commit commit_;
  Transferred done_;
};

}  // namespace

std::string name_meant(const ArtifactStore& store, const std::string& ref) {
  if (ref.size() == 64 && is_digest_prefix(ref)) return "";
  return store.find_ref(ref) ? ref : "";
}

std::pair<Digest, std::string> StoreSource::resolve(const std::string& ref) {
  return {store_.resolve(ref), name_meant(store_, ref)};
}

std::optional<StoredObject> StoreSource::object(const Digest& digest) {
  if (!store_.has_object(digest)) return std::nullopt;
  return store_.get_object(digest);
}

std::vector<std::string> StoreSource::names(const Digest& digest) {
  std::vector<std::string> names;
  for (const Ref& ref : store_.list_refs())
    if (ref.object == digest) names.push_back(ref.name);
  return names;
}

std::vector<std::pair<std::string, Bytes>> StoreSource::records(const Digest& digest) {
  std::vector<std::pair<std::string, Bytes>> found;
  for (const std::string& prefix : {"run/" + digest.hex() + "/", signature_prefix(digest)})
    store_.scan_results(prefix, [&](std::string_view key, Bytes bytes) {
      found.emplace_back(key, std::move(bytes));
      return true;
    });
  return found;
}

std::vector<Digest> StoreSink::missing_chunks(std::span<const Digest> digests) {
  std::vector<Digest> missing;
  for (const Digest& digest : digests)
    if (!store_.claim_chunk(digest)) missing.push_back(digest);
  return missing;
}

std::optional<Digest> StoreSink::find_ref(const std::string& name) {
  const std::optional<Ref> ref = store_.find_ref(name);
  return ref ? std::optional(ref->object) : std::nullopt;
}

void require_chunks(const ArtifactStore& store, const Digest& digest, const Manifest& manifest) {
  for (const ChunkRef& chunk : chunks_of(manifest)) {
    const std::optional<std::uint64_t> bytes = store.chunk_size_bytes(chunk.digest);
    if (bytes == chunk.bytes) continue;
    throw Error(ErrorCode::bad_input, "the manifest " + digest.hex() + " names the chunk " + chunk.digest.hex() + " of " +
                                          std::to_string(chunk.bytes) + " bytes, " +
                                          (bytes ? "which has " + std::to_string(*bytes) : "which nobody has put") +
                                          ": nothing was published");
  }
}

void StoreSink::publish(const Commit& commit) {
  for (const Commit::Object& object : commit.objects()) require_chunks(store_, object.digest, decode_manifest(object.bytes));
  store_.commit(commit);
}

void claim_name(TransferSink& to, Commit& commit, const std::string& name, const Digest& digest, std::uint64_t now_ms) {
  if (const std::optional<Digest> there = to.find_ref(name)) {
    if (*there == digest) return;
    throw Error(ErrorCode::bad_input, "the name " + name + " is taken in " + to.description() + " by " + there->short_hex() +
                                          ": give this one another with --as NAME");
  }
  commit.expect_ref(name, Digest{}).set_ref(name, digest, now_ms);
}

Transferred transfer(TransferSource& from, TransferSink& to, const std::string& ref, const std::string& name,
                     std::uint64_t now_ms) {
  const auto [digest, own_name] = from.resolve(ref);
  const std::string called = !name.empty() ? name : own_name;
  if (called.empty())
    throw Error(ErrorCode::bad_input,
                ref + " is a digest and no name: say with --as NAME what it is to be called there");
  const std::optional<StoredObject> object = from.object(digest);
  if (!object) throw Error(ErrorCode::corrupt, "the source names " + digest.hex() + " and does not have it");
  require_weights(*object, ref);
  Transfer work(from, to, now_ms);
  work.name(called, digest);
  work.object(*object);
  work.set_of(decode_manifest(object->bytes).calibration_set);
  return work.finish(digest, called);
}

}  // namespace quench::coordinator
