// An artifact's chunks as a WeightSource. Manifests come from stores and networks: every record is checked
// against the model's shapes before a size in it is used, every chunk against its digest.
#include <algorithm>
#include <cstring>
#include <utility>

#include "schemas/error.h"
#include "schemas/packed_layout.h"
#include "worker/model/weights.h"

namespace quench::worker {
namespace {

void expect(bool condition, const std::string& place, const std::string& what) {
  if (!condition)
    throw Error(ErrorCode::corrupt, place + ": " + what + "; fetch or quantize the artifact again");
}

PackedTileShape tile_shape(const StoredTensor& stored, std::uint64_t tile) {
  const std::uint64_t first = tile * stored.rows_per_tile;
  return {.rows = static_cast<std::uint32_t>(
              std::min<std::uint64_t>(stored.rows_per_tile, stored.rows() - first)),
          .inputs = static_cast<std::uint32_t>(stored.columns()),
          .bits = stored.bits,
          .group_size = stored.group_size};
}

AdditiveTileShape additive_shape(const StoredTensor& stored, std::uint64_t tile) {
  const std::uint64_t first = tile * stored.rows_per_tile;
  return {.rows = static_cast<std::uint32_t>(std::min<std::uint64_t>(stored.rows_per_tile, stored.rows() - first)),
          .inputs = static_cast<std::uint32_t>(stored.columns()),
          .codebooks = stored.codebooks,
          .bits = stored.bits,
          .group_size = static_cast<std::uint32_t>(stored.group_size)};
}

void check_halves(std::span<const std::uint8_t> halves, const std::string& where, const char* what) {
  for (std::size_t i = 0; i < halves.size() / 2; ++i) {
    std::uint16_t half;
    std::memcpy(&half, halves.data() + 2 * i, 2);
    if ((half & 0x7c00) == 0x7c00)
      throw Error(ErrorCode::bad_input, where + ": " + what + " " + std::to_string(i) + " is NaN or infinite; expected finite " +
                                            what + "s");
  }
}

class ArtifactWeights final : public WeightSource {
 public:
  ArtifactWeights(const ModelConfig& config, const std::vector<TensorRecord>& records, ChunkReader read_chunk)
      : WeightSource(config), read_chunk_(std::move(read_chunk)) {
    for (const TensorRecord& record : records) {
      StoredTensor stored{.layout = record.layout,
                          .dtype = record.dtype,
                          .shape = record.shape,
                          .bits = record.bits,
                          .group_size = record.group_size,
                          .rows_per_tile = record.rows_per_tile,
                          .permuted = !record.permutation.digest.is_none(),
                          .codebooks = record.codebooks,
                          .activations = record.activations,
                          .activation_scale = static_cast<float>(record.activation_scale)};
      add_tensor(record.name, stored, place(record.name));
      if (!has(record.name)) continue;
      if (stored.layout == TensorLayout::raw)
        check_raw(record);
      else if (stored.layout == TensorLayout::packed)
        check_packed(record, stored);
      if (stored.layout == TensorLayout::additive || stored.activations != Activations::none)
        in_context(place(record.name), [&] { check_tensor_record(record); });
      expect(records_.emplace(record.name, record).second, place(record.name), "is listed twice");
    }
  }

  std::string place(const std::string& name) const override { return "artifact: tensor " + name; }

  void read_bytes(const std::string& name, std::uint64_t offset, std::span<std::uint8_t> out) const override {
    const TensorRecord& record = records_.at(name);
    QUENCH_CHECK(record.layout == TensorLayout::raw, name);
    for (std::size_t done = 0; done < out.size();) {
      const std::uint64_t at = offset + done;
      const ChunkRef& chunk = record.chunks.at(at / kRawChunkBytes);
      if (chunk.digest != last_digest_) {
        in_context(place(name), [&] { last_chunk_ = read_checked_chunk(read_chunk_, chunk); });
        last_digest_ = chunk.digest;
      }
      const std::uint64_t within = at % kRawChunkBytes;
      const std::size_t count = std::min<std::uint64_t>(out.size() - done, last_chunk_.size() - within);
      std::memcpy(out.data() + done, last_chunk_.data() + within, count);
      done += count;
    }
  }

  std::vector<std::uint8_t> read_tile(const std::string& name, std::uint64_t tile) const override {
    const TensorRecord& record = records_.at(name);
    QUENCH_CHECK(record.layout != TensorLayout::raw && tile < tensor(name).tiles(), name, tile);
    const std::string where = place(name) + ": row tile " + std::to_string(tile);
    const bool additive = record.layout == TensorLayout::additive;
    std::vector<std::uint8_t> bytes =
        in_context(where, [&] { return read_checked_chunk(read_chunk_, record.chunks[tile + (additive ? 1 : 0)]); });
    if (additive) {
      const AdditiveTileShape shape = additive_shape(tensor(name), tile);
      check_halves(std::span(bytes).subspan(shape.code_bytes(), shape.scale_bytes()), where, "scale");
    } else {
      const PackedTileShape shape = tile_shape(tensor(name), tile);
      check_halves(std::span(bytes).subspan(shape.code_bytes(), shape.scale_bytes()), where, "scale");
    }
    return bytes;
  }

  std::vector<std::uint8_t> read_codebooks(const std::string& name) const override {
    const TensorRecord& record = records_.at(name);
    QUENCH_CHECK(record.layout == TensorLayout::additive, name);
    const std::string where = place(name) + ": codebooks";
    std::vector<std::uint8_t> bytes =
        in_context(where, [&] { return read_checked_chunk(read_chunk_, record.chunks.at(0)); });
    check_halves(bytes, where, "value");
    return bytes;
  }

  std::vector<std::int32_t> read_permutation(const std::string& name) const override {
    const TensorRecord& record = records_.at(name);
    if (record.permutation.digest.is_none()) return {};
    const std::vector<std::uint8_t> bytes =
        in_context(place(name), [&] { return read_checked_chunk(read_chunk_, record.permutation); });
    std::vector<std::int32_t> permutation(tensor(name).columns());
    std::memcpy(permutation.data(), bytes.data(), bytes.size());
    std::vector<bool> seen(permutation.size());
    for (const std::int32_t column : permutation) {
      expect(column >= 0 && std::cmp_less(column, seen.size()) && !seen[column], place(name),
             "its column order names column " + std::to_string(column) + " twice or outside the tensor");
      seen[column] = true;
    }
    return permutation;
  }

 private:
  void check_raw(const TensorRecord& record) const {
    std::uint64_t left = dtype_bytes(record.dtype);
    for (const std::uint64_t extent : record.shape) left *= extent;
    expect(record.chunks.size() == (left + kRawChunkBytes - 1) / kRawChunkBytes, place(record.name),
           "has " + std::to_string(record.chunks.size()) + " chunks for " + std::to_string(left) + " bytes");
    for (const ChunkRef& chunk : record.chunks) {
      const std::uint64_t expected = std::min(left, kRawChunkBytes);
      expect(chunk.bytes == expected, place(record.name),
             "has a chunk of " + std::to_string(chunk.bytes) + " bytes where " + std::to_string(expected) +
                 " are due");
      left -= expected;
    }
  }

  void check_packed(const TensorRecord& record, const StoredTensor& stored) const {
    const std::string where = place(record.name);
    expect(record.shape.size() == 2, where, "is packed but not a matrix");
    expect(record.bits == 8 || (record.bits >= 2 && record.bits <= 4), where,
           "has " + std::to_string(record.bits) + " bits, expected 8, 4, 3 or 2");
    // A group may be wider than the row: then it is the row.
    expect(record.group_size == -1 || record.group_size > 0, where,
           "has group size " + std::to_string(record.group_size));
    expect(record.rows_per_tile > 0 && record.rows_per_tile % kPanelRows == 0, where,
           "has " + std::to_string(record.rows_per_tile) + " rows per tile, expected a multiple of 16");
    expect(record.chunks.size() == stored.tiles(), where,
           "has " + std::to_string(record.chunks.size()) + " row tiles, expected " +
               std::to_string(stored.tiles()));
    for (std::uint64_t tile = 0; tile < record.chunks.size(); ++tile) {
      const std::uint64_t bytes = tile_shape(stored, tile).bytes();
      expect(record.chunks[tile].bytes == bytes && bytes <= kChunkBytesMax, where,
             "row tile " + std::to_string(tile) + " has " + std::to_string(record.chunks[tile].bytes) +
                 " bytes, expected " + std::to_string(bytes));
    }
    if (stored.permuted)
      expect(record.permutation.bytes == 4 * stored.columns(), where,
             "its column order has " + std::to_string(record.permutation.bytes) + " bytes");
  }

  ChunkReader read_chunk_;
  std::map<std::string, TensorRecord> records_;
  // Neighbouring reads of a raw tensor fall in one chunk.
  mutable Digest last_digest_;
  mutable std::vector<std::uint8_t> last_chunk_;
};

}  // namespace

std::vector<std::uint8_t> read_checked_chunk(const ChunkReader& read_chunk, const ChunkRef& ref) {
  std::vector<std::uint8_t> bytes = read_chunk(ref);
  if (bytes.size() != ref.bytes || sha256(bytes) != ref.digest)
    throw Error(ErrorCode::corrupt,
                "chunk " + ref.digest.short_hex() + ": got " + std::to_string(bytes.size()) +
                    " bytes that do not have this digest, expected " + std::to_string(ref.bytes) +
                    "; run `artifacts verify` on the store it came from");
  return bytes;
}

std::unique_ptr<WeightSource> open_artifact(const Manifest& manifest, ChunkReader read_chunk) {
  const auto config_file = std::find_if(manifest.files.begin(), manifest.files.end(),
                                        [](const FileRecord& file) { return file.name == "config.json"; });
  if (config_file == manifest.files.end())
    throw Error(ErrorCode::corrupt, "artifact: it carries no config.json; quantize the model again");
  const std::vector<std::uint8_t> json =
      in_context("artifact: config.json", [&] { return read_checked_chunk(read_chunk, config_file->chunk); });
  const ModelConfig config = parse_model_config(
      std::string_view(reinterpret_cast<const char*>(json.data()), json.size()), "artifact: config.json");
  auto source = std::make_unique<ArtifactWeights>(config, manifest.tensors, std::move(read_chunk));
  check_complete(*source);
  return source;
}

std::unique_ptr<WeightSource> open_tensor_records(const ModelConfig& config,
                                                  const std::vector<TensorRecord>& records,
                                                  ChunkReader read_chunk) {
  return std::make_unique<ArtifactWeights>(config, records, std::move(read_chunk));
}

}  // namespace quench::worker
