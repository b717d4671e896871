#include "coordinator/transfer.h"

#include "coordinator/store/keys.h"
#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

class Transfer {
 public:
  Transfer(TransferSource& from, TransferSink& to, std::uint64_t now_ms) : from_(from), to_(to), now_ms_(now_ms) {}

  void object(const StoredObject& object) {
    for (const Digest& chunk : object.chunks) {
      ++done_.chunks;
      if (to_.claim_chunk(chunk)) continue;
      const Bytes bytes = from_.chunk(chunk);
      to_.put_chunk(chunk, bytes);
      ++done_.chunks_copied;
      done_.bytes_copied += bytes.size();
    }
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

std::optional<Digest> StoreSink::find_ref(const std::string& name) {
  const std::optional<Ref> ref = store_.find_ref(name);
  return ref ? std::optional(ref->object) : std::nullopt;
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
