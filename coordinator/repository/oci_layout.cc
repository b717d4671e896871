#include "coordinator/repository/oci_layout.h"

#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "coordinator/store/disk.h"
#include "coordinator/transfer.h"
#include "schemas/codec.h"
#include "schemas/error.h"
#include "schemas/small_file.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr const char* kImageType = "application/vnd.oci.image.manifest.v1+json";
constexpr const char* kIndexType = "application/vnd.oci.image.index.v1+json";
constexpr const char* kArtifactType = "application/vnd.quench.artifact.v1";
constexpr const char* kManifestType = "application/vnd.quench.manifest.v1+capnp";
constexpr const char* kChunksType = "application/vnd.quench.chunks.v1";
constexpr const char* kRunType = "application/vnd.quench.run-record.v1+capnp";
constexpr const char* kSignatureType = "application/vnd.dsse.envelope.v1+json";
constexpr const char* kNameKey = "org.opencontainers.image.ref.name";
constexpr const char* kRecordKey = "quench.record";  // a small layer's key in the store
// A 70B model's layers are some hundred; records are small.
constexpr std::size_t kJsonBytesMax = 4 << 20;
constexpr std::uint64_t kRecordBytesMax = 1 << 20;

// "model.layers.7." of a block's tensor; empty outside the blocks.
std::string block_of(const std::string& tensor) {
  const std::size_t at = tensor.find(".layers.");
  if (at == std::string::npos) return "";
  const std::size_t number = at + 8, end = tensor.find('.', number);
  return end == std::string::npos ? "" : tensor.substr(0, end + 1);
}

// The manifest's distinct chunks in its order; `begins` where a layer has to begin anew.
struct PlacedChunk {
  ChunkRef chunk;
  bool begins = false;
};
std::vector<PlacedChunk> placed_chunks(const Manifest& manifest, std::uint64_t blob_bytes_max) {
  std::vector<PlacedChunk> placed;
  std::set<Digest> seen;
  std::string part;
  bool fresh = true;
  std::uint64_t bytes = 0;
  const auto place = [&](const ChunkRef& chunk) {
    if (chunk.digest.is_none() || !seen.insert(chunk.digest).second) return;
    if (bytes + chunk.bytes > blob_bytes_max) fresh = true;
    if (fresh) bytes = 0;
    placed.push_back({chunk, fresh});
    bytes += chunk.bytes;
    fresh = false;
  };
  for (const FileRecord& file : manifest.files) place(file.chunk);
  for (const TensorRecord& tensor : manifest.tensors) {
    if (const std::string block = block_of(tensor.name); block != part || &tensor == &manifest.tensors.front()) {
      part = block;
      fresh = true;
    }
    for (const ChunkRef& chunk : tensor.chunks) place(chunk);
    place(tensor.permutation);
  }
  return placed;
}

class LayoutWriter {
 public:
  LayoutWriter(const ArtifactStore& store, fs::path directory, std::uint64_t blob_bytes_max)
      : store_(store), directory_(std::move(directory)), blob_bytes_max_(blob_bytes_max) {
    fs::create_directories(directory_ / "blobs" / "sha256");
  }

  // Adds an artifact to the index, and the calibration set that belongs to it.
  void add(const std::string& name, const Digest& digest) {
    const StoredObject object = store_.get_object(digest);
    require_weights(object, name);
    const Manifest manifest = decode_manifest(object.bytes);
    ordered_json layers = ordered_json::array();
    add_chunks(manifest, layers);
    for (const auto& [prefix, type] : {std::pair{"run/" + digest.hex() + "/", kRunType}, std::pair{signature_prefix(digest), kSignatureType}})
      store_.scan_results(prefix, [&, type = type](std::string_view key, const Bytes& bytes) {
        ordered_json layer = blob(type, as_text(bytes));
        layer["annotations"] = {{kRecordKey, key}};
        layers.push_back(std::move(layer));
        return true;
      });
    const ordered_json image{{"schemaVersion", 2},
                             {"mediaType", kImageType},
                             {"artifactType", kArtifactType},
                             {"config", blob(kManifestType, as_text(object.bytes))},
                             {"layers", layers}};
    ordered_json entry = blob(kImageType, image.dump());
    entry["artifactType"] = kArtifactType;
    if (!name.empty()) entry["annotations"] = {{kNameKey, name}};
    images_.push_back(std::move(entry));
  }

  OciWritten finish() {
    write_file("index.json", ordered_json{{"schemaVersion", 2}, {"mediaType", kIndexType}, {"manifests", images_}}.dump());
    write_file("oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
    sync_directory(directory_ / "blobs" / "sha256");
    sync_directory(directory_);
    return written_;
  }

 private:
  void add_chunks(const Manifest& manifest, ordered_json& layers) {
    const fs::path draft = directory_ / "blobs" / "sha256" / "draft";
    std::optional<File> file;
    std::optional<Hasher> hasher;
    std::uint64_t bytes = 0;
    const auto close = [&] {
      if (!file) return;
      file->sync();
      file.reset();
      const Digest digest = hasher->finish();
      fs::rename(draft, blob_path(digest));
      layers.push_back(descriptor(kChunksType, digest, bytes));
      ++written_.blobs;
      written_.bytes += bytes;
    };
    for (const PlacedChunk& placed : placed_chunks(manifest, blob_bytes_max_)) {
      if (placed.begins) {
        close();
        file.emplace(draft, O_WRONLY | O_CREAT | O_TRUNC);
        hasher.emplace();
        bytes = 0;
      }
      const Bytes chunk = store_.get_chunk(placed.chunk.digest);
      file->write_at(bytes, as_text(chunk));
      hasher->update(chunk);
      bytes += chunk.size();
    }
    close();
  }

  static ordered_json descriptor(const char* type, const Digest& digest, std::uint64_t size) {
    return {{"mediaType", type}, {"digest", "sha256:" + digest.hex()}, {"size", size}};
  }
  fs::path blob_path(const Digest& digest) const { return directory_ / "blobs" / "sha256" / digest.hex(); }
  ordered_json blob(const char* type, std::string_view bytes) {
    const Digest digest = sha256(bytes);
    write_file(fs::path("blobs") / "sha256" / digest.hex(), bytes);
    ++written_.blobs;
    written_.bytes += bytes.size();
    return descriptor(type, digest, bytes.size());
  }
  void write_file(const fs::path& name, std::string_view bytes) const {
    File file(directory_ / name, O_WRONLY | O_CREAT | O_TRUNC);
    file.write_at(0, bytes);
    file.sync();
  }

  const ArtifactStore& store_;
  fs::path directory_;
  std::uint64_t blob_bytes_max_;
  ordered_json images_ = ordered_json::array();
  OciWritten written_;
};

// --- Import -----------------------------------------------------------------------------------------------

Error not_a_layout(const fs::path& where, const std::string& what) {
  return Error(ErrorCode::bad_input, where.string() + " is no OCI image layout with an artifact of Quench: " + what +
                                         "; `quench artifacts export REF --format oci --to DIR` writes one");
}

ordered_json read_json(const fs::path& file) {
  ordered_json document = ordered_json::parse(read_small_file(file, kJsonBytesMax), nullptr, false);
  if (!document.is_object()) throw not_a_layout(file, "it is no JSON object");
  return document;
}

struct Descriptor {
  std::string type;
  Digest digest;
  std::uint64_t size = 0;
  std::string name, record;
};

Descriptor read_descriptor(const ordered_json& json, const fs::path& where) {
  const auto text = [&](const ordered_json& object, const char* field) {
    return object.is_object() && object.contains(field) && object[field].is_string() ? object[field].get<std::string>() : "";
  };
  Descriptor read;
  read.type = text(json, "mediaType");
  const std::string digest = text(json, "digest");
  // The digest becomes a file's name: nothing but sha256 in hexadecimal may.
  if (!digest.starts_with("sha256:") || digest.size() != 71)
    throw not_a_layout(where, "a descriptor's digest is not \"sha256:\" and 64 hexadecimal digits");
  read.digest = in_context(where.string(), [&] { return Digest::from_hex(digest.substr(7)); });
  if (!json.contains("size") || !json["size"].is_number_unsigned()) throw not_a_layout(where, "a descriptor has no size");
  read.size = json["size"].get<std::uint64_t>();
  if (json.contains("annotations")) {
    read.name = text(json["annotations"], kNameKey);
    read.record = text(json["annotations"], kRecordKey);
  }
  return read;
}

class LayoutReader {
 public:
  LayoutReader(ArtifactStore& store, fs::path directory) : store_(store), directory_(std::move(directory)) {}

  struct Image {
    std::string name;
    Digest digest;
    Manifest manifest;
  };
  // Puts the image's chunks into the store and everything else into `commit`.
  Image take(const Descriptor& entry, Commit& commit) {
    const fs::path where = blob_path(entry.digest);
    const ordered_json image = ordered_json::parse(checked_blob(entry, kJsonBytesMax), nullptr, false);
    if (!image.is_object() || !image.contains("config") || !image.contains("layers") || !image["layers"].is_array())
      throw not_a_layout(where, "its image manifest has no config and layers");
    const Descriptor config = read_descriptor(image["config"], where);
    if (config.type != kManifestType)
      throw not_a_layout(where, "its config is of the type \"" + config.type + "\", expected " + kManifestType);
    const std::string bytes = checked_blob(config, kManifestBytesMax);
    Image taken{entry.name, config.digest, in_context(blob_path(config.digest).string(), [&] { return decode_manifest(as_bytes(bytes)); })};
    std::vector<Descriptor> chunk_layers;
    for (const ordered_json& layer : image["layers"]) {
      const Descriptor read = read_descriptor(layer, where);
      if (read.type == kChunksType) chunk_layers.push_back(read);
      if (read.type == kRunType || read.type == kSignatureType) take_record(read, taken.digest, commit);
    }
    take_chunks(taken.manifest, chunk_layers);
    std::vector<Digest> chunks;
    for (const ChunkRef& chunk : chunks_of(taken.manifest)) chunks.push_back(chunk.digest);
    commit.put_object(taken.digest, as_bytes(bytes), chunks);
    return taken;
  }

  std::uint64_t chunks() const { return chunks_; }
  std::uint64_t chunks_new() const { return chunks_new_; }

 private:
  fs::path blob_path(const Digest& digest) const { return directory_ / "blobs" / "sha256" / digest.hex(); }

  std::string checked_blob(const Descriptor& described, std::uint64_t bytes_max) const {
    const fs::path file = blob_path(described.digest);
    if (described.size > bytes_max) throw not_a_layout(file, "it is larger than such a blob can be");
    std::string bytes = read_small_file(file, bytes_max);
    if (bytes.size() != described.size || sha256(bytes) != described.digest)
      throw Error(ErrorCode::corrupt, file.string() + " does not have its digest: copy the layout again");
    return bytes;
  }

  // Records only under the artifact's own keys: an image may not write into anybody else's.
  void take_record(const Descriptor& layer, const Digest& artifact, Commit& commit) {
    const std::string prefix = layer.type == kRunType ? "run/" + artifact.hex() + "/" : signature_prefix(artifact);
    if (!layer.record.starts_with(prefix)) throw not_a_layout(blob_path(layer.digest), "a record belongs to another artifact");
    const std::string bytes = checked_blob(layer, kRecordBytesMax);
    if (layer.type == kRunType) decode_run_record(as_bytes(bytes));
    if (!store_.get_result(layer.record)) commit.put_result(layer.record, as_bytes(bytes));
  }

  // The chunks lie in the layers in the manifest's order; where a layer ends the next begins.
  void take_chunks(const Manifest& manifest, const std::vector<Descriptor>& layers) {
    std::optional<File> file;
    std::size_t next = 0;
    std::uint64_t offset = 0, size = 0;
    for (const auto& [chunk, begins] : placed_chunks(manifest, UINT64_MAX)) {
      ++chunks_;
      while (offset == size) {
        if (next == layers.size()) throw Error(ErrorCode::corrupt, directory_.string() + ": the layers end before the artifact's chunks do");
        const Descriptor& layer = layers[next++];
        file.reset();
        file.emplace(blob_path(layer.digest), O_RDONLY);
        offset = 0;
        size = file->size_bytes();
        if (size != layer.size) throw Error(ErrorCode::corrupt, file->path().string() + " has " + std::to_string(size) + " bytes, its descriptor says " + std::to_string(layer.size) + ": copy the layout again");
      }
      if (chunk.bytes > kChunkBytesMax || chunk.bytes > size - offset)
        throw Error(ErrorCode::corrupt, file->path().string() + ": chunk " + chunk.digest.short_hex() + " does not fit into it");
      if (!store_.claim_chunk(chunk.digest)) {
        const std::string bytes = file->read_at(offset, chunk.bytes);
        in_context(file->path().string() + " at " + std::to_string(offset), [&] { store_.put_chunk(chunk.digest, as_bytes(bytes)); });
        ++chunks_new_;
      }
      offset += chunk.bytes;
    }
    if (offset != size || next != layers.size())
      throw Error(ErrorCode::corrupt, directory_.string() + ": the layers hold more than the artifact's chunks");
  }

  ArtifactStore& store_;
  fs::path directory_;
  std::uint64_t chunks_ = 0, chunks_new_ = 0;
};

}  // namespace

OciWritten write_oci_layout(const ArtifactStore& store, const std::string& ref, const fs::path& to,
                            std::uint64_t blob_bytes_max) {
  if (fs::exists(to)) throw Error(ErrorCode::bad_input, "--to " + to.string() + " is there already: name a directory that is not");
  if (blob_bytes_max < kChunkBytesMax)
    throw Error(ErrorCode::bad_input, "a blob must have room for a chunk of " + std::to_string(kChunkBytesMax) + " bytes");
  const Digest digest = store.resolve(ref);
  const fs::path partial = to.string() + ".partial-" + std::to_string(::getpid());
  std::error_code ignored;
  fs::remove_all(partial, ignored);
  try {
    LayoutWriter writer(store, partial, blob_bytes_max);
    writer.add(name_meant(store, ref), digest);
    const Digest set = decode_manifest(store.get_object(digest).bytes).calibration_set;
    if (!set.is_none() && store.has_object(set) && !store.get_object(set).collected_ms) {
      std::string name;
      for (const Ref& one : store.list_refs())
        if (one.object == set && name.empty()) name = one.name;
      writer.add(name, set);
    }
    const OciWritten written = writer.finish();
    fs::rename(partial, to);
    return written;
  } catch (...) {
    fs::remove_all(partial, ignored);
    throw;
  }
}

OciImported import_oci_layout(ArtifactStore& store, const fs::path& from, const std::string& name, std::uint64_t now_ms) {
  if (!fs::is_regular_file(from / "oci-layout")) throw not_a_layout(from, "there is no file oci-layout");
  const ordered_json index = read_json(from / "index.json");
  if (!index.contains("manifests") || !index["manifests"].is_array() || index["manifests"].empty())
    throw not_a_layout(from / "index.json", "it lists no manifests");
  LayoutReader reader(store, from);
  Commit commit;
  OciImported imported;
  for (const ordered_json& entry : index["manifests"]) {
    const LayoutReader::Image image = reader.take(read_descriptor(entry, from / "index.json"), commit);
    const bool first = imported.digest.is_none();
    const std::string called = first && !name.empty() ? name : image.name;
    if (first) {
      if (called.empty()) throw Error(ErrorCode::bad_input, from.string() + " gives the artifact no name: say with --as NAME what it is to be called");
      imported.digest = image.digest;
      imported.name = called;
      StoreSink sink(store);
      claim_name(sink, commit, called, image.digest, now_ms);
    } else if (!called.empty() && !store.find_ref(called)) {
      commit.expect_ref(called, Digest{}).set_ref(called, image.digest, now_ms);
    }
  }
  store.commit(commit);
  imported.chunks = reader.chunks();
  imported.chunks_new = reader.chunks_new();
  return imported;
}

}  // namespace quench::coordinator
