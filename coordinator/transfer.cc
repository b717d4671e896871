#include "coordinator/transfer.h"

#include <optional>

#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

class Transfer {
 public:
  Transfer(const ArtifactStore& from, ArtifactStore& to, std::uint64_t now_ms)
      : from_(from), to_(to), now_ms_(now_ms) {}

  void object(const StoredObject& object) {
    for (const Digest& chunk : object.chunks) {
      ++done_.chunks;
      if (to_.has_chunk(chunk)) continue;
      const Bytes bytes = from_.get_chunk(chunk);
      to_.put_chunk(chunk, bytes);
      ++done_.chunks_copied;
      done_.bytes_copied += bytes.size();
    }
    commit_.put_object(object.digest, object.bytes, object.chunks);
    from_.scan_results("run/" + object.digest.hex() + "/", [&](std::string_view key, Bytes bytes) {
      commit_.put_result(key, bytes);
      return true;
    });
  }

  void set_of(const Digest& digest) {
    if (digest.is_none() || !from_.has_object(digest)) return;
    object(from_.get_object(digest));
    for (const Ref& ref : from_.list_refs())
      if (ref.object == digest && !to_.find_ref(ref.name)) commit_.set_ref(ref.name, digest, now_ms_);
  }

  void name(const std::string& name, const Digest& digest) {
    if (const std::optional<Ref> there = to_.find_ref(name)) {
      if (there->object == digest) return;
      throw Error(ErrorCode::bad_input, "the name " + name + " is taken in " + to_.directory().string() +
                                            " by " + there->object.short_hex() +
                                            ": give this one another with --as NAME");
    }
    commit_.set_ref(name, digest, now_ms_);
  }

  Transferred finish(const Digest& digest, const std::string& name) {
    to_.commit(commit_);
    done_.digest = digest;
    done_.name = name;
    return done_;
  }

 private:
  const ArtifactStore& from_;
  ArtifactStore& to_;
  std::uint64_t now_ms_;
  Commit commit_;
  Transferred done_;
};

}  // namespace

Transferred transfer(const ArtifactStore& from, ArtifactStore& to, const std::string& ref,
                     const std::string& name, std::uint64_t now_ms) {
  const Digest digest = from.resolve(ref);
  const std::string called = !name.empty() ? name : from.find_ref(ref) ? ref : std::string();
  if (called.empty())
    throw Error(ErrorCode::bad_input,
                ref + " is a digest and no name: say with --as NAME what it is to be called there");
  const StoredObject object = from.get_object(digest);
  Transfer work(from, to, now_ms);
  work.name(called, digest);
  work.object(object);
  work.set_of(decode_manifest(object.bytes).calibration_set);
  return work.finish(digest, called);
}

}  // namespace quench::coordinator
