// Moving artifacts and calibration sets between stores: only the chunks that the other side lacks, each checked against
// its digest on arrival, and all of it published there in one commit. A transfer that is cut short has published
// nothing; run again, it goes on with the chunks that are still missing.
//
// Where from and where to are interfaces, so that the same transfer runs between two stores of one file system and
// between a store and another host's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/store/artifact_store.h"
#include "schemas/artifact.h"

namespace quench::coordinator {

class TransferSource {
 public:
  virtual ~TransferSource() = default;
  virtual int lanes() const { return 1; }  // worth using
  // As ArtifactStore's. What `ref` means, and the name it is (empty: it is a digest).
  virtual std::pair<Digest, std::string> resolve(const std::string& ref) = 0;
  virtual std::optional<StoredObject> object(const Digest& digest) = 0;  // none: not there
  virtual Bytes chunk(const Digest& digest) = 0;                         // checked
  virtual std::vector<std::string> names(const Digest& digest) = 0;
  // Run records and signatures, by their keys.
  virtual std::vector<std::pair<std::string, Bytes>> records(const Digest& digest) = 0;
};

class TransferSink {
 public:
  virtual ~TransferSink() = default;
  virtual int lanes() const { return 1; }
  virtual std::string description() = 0;  // names it in errors
  // Which of the chunks are not there; the others stay until publish().
  virtual std::vector<Digest> missing_chunks(std::span<const Digest> digests) = 0;
  virtual void put_chunk(const Digest& digest, std::span<const std::uint8_t> bytes) = 0;
  virtual std::optional<Digest> find_ref(const std::string& name) = 0;
  virtual bool has_record(const std::string& key) = 0;
  virtual void publish(const Commit& commit) = 0;
};

// Chunks are read and put by several threads at once where one of the two is far away: chunk() and put_chunk() may then be
// called from any thread.
inline constexpr int kLanesFar = 8;

class StoreSource : public TransferSource {
 public:
  explicit StoreSource(const ArtifactStore& store) : store_(store) {}
  std::pair<Digest, std::string> resolve(const std::string& ref) override;
  std::optional<StoredObject> object(const Digest& digest) override;
  Bytes chunk(const Digest& digest) override { return store_.get_chunk(digest); }
  std::vector<std::string> names(const Digest& digest) override;
  std::vector<std::pair<std::string, Bytes>> records(const Digest& digest) override;

 private:
  const ArtifactStore& store_;
};

// What is to be published must be whole: throws Error(bad_input) unless the store has every chunk that the manifest names, of
// the size that it says.
void require_chunks(const ArtifactStore& store, const Digest& digest, const Manifest& manifest);

class StoreSink : public TransferSink {
 public:
  explicit StoreSink(ArtifactStore& store) : store_(store) {}
  std::string description() override { return store_.directory().string(); }
  std::vector<Digest> missing_chunks(std::span<const Digest> digests) override;
  void put_chunk(const Digest& digest, std::span<const std::uint8_t> bytes) override { store_.put_chunk(digest, bytes); }
  std::optional<Digest> find_ref(const std::string& name) override;
  bool has_record(const std::string& key) override { return store_.get_result(key).has_value(); }
  void publish(const Commit& commit) override;

 private:
  ArtifactStore& store_;
};

struct Transferred {
  Digest digest;
  std::string name;          // it has over there
  std::uint64_t chunks = 0;  // of the manifests
  std::uint64_t chunks_copied = 0;
  std::uint64_t bytes_copied = 0;
};

// Copies what `ref` means in `from` to `to`, under `name` (empty: the name it has; a digest alone gives none,
// so one must be given). With a model go its signatures, the run records that tell how it was made, and its calibration
// set, where `from` has it, under the set's own names that are free over there. Throws Error(bad_input) when
// `name` is that of something else in `to`: nobody's name is taken away, not even of two transfers at once.
Transferred transfer(TransferSource& from, TransferSink& to, const std::string& ref, const std::string& name,
                     std::uint64_t now_ms);

// Adds to `commit` that `name` means `digest` from now on. Throws Error(bad_input) when it is something else's; when it
// becomes that before the commit, the commit fails.
void claim_name(TransferSink& to, Commit& commit, const std::string& name, const Digest& digest, std::uint64_t now_ms);

// The name that `ref` is in the store; empty when it is a digest or nothing.
std::string name_meant(const ArtifactStore& store, const std::string& ref);

}  // namespace quench::coordinator
