#include "coordinator/export/linear_tiles.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "coordinator/export/float_formats.h"
#include "schemas/error.h"
#include "schemas/packed_layout.h"

namespace quench::coordinator {
namespace {

std::uint16_t u16_at(const std::uint8_t* bytes) { return static_cast<std::uint16_t>(bytes[0] | bytes[1] << 8); }

void check_size(const TensorRecord& tensor, const Bytes& bytes, std::uint64_t expected) {
  if (bytes.size() != expected)
    throw Error(ErrorCode::corrupt, tensor.name + ": a chunk of " + std::to_string(bytes.size()) +
                                        " bytes where its shape takes " + std::to_string(expected));
}

void visit_packed(const ArtifactStore& store, const TensorRecord& tensor,
                  const std::function<void(std::span<const float>)>& visit) {
  const PackedLinear linear(store, tensor);
  std::vector<float> weights;
  for (std::size_t index = 0; index < linear.tiles(); ++index) {
    const RowTile tile = linear.tile(index);
    weights.resize(tile.codes.size());
    for (std::uint32_t row = 0; row < tile.rows; ++row) {
      const std::size_t grid = std::size_t{row} * linear.groups(), at = std::size_t{row} * linear.inputs();
      for (std::uint32_t k = 0; k < linear.inputs(); ++k) {
        const std::size_t group = grid + linear.group_of()[k];
        weights[at + k] = static_cast<float>(int{tile.codes[at + k]} - int{tile.zeros[group]}) * f16_to_f32(tile.scales[group]);
      }
    }
    visit(weights);
  }
}

void visit_additive(const ArtifactStore& store, const TensorRecord& tensor,
                    const std::function<void(std::span<const float>)>& visit) {
  const auto outputs = static_cast<std::uint32_t>(tensor.shape.at(0));
  AdditiveTileShape shape{0, static_cast<std::uint32_t>(tensor.shape.at(1)), tensor.codebooks, tensor.bits,
                          static_cast<std::uint32_t>(tensor.group_size)};
  const Bytes stored = checked_chunk(store, tensor.chunks.at(0));
  check_size(tensor, stored, shape.codebook_bytes());
  std::vector<float> entries(stored.size() / 2);
  for (std::size_t i = 0; i < entries.size(); ++i) entries[i] = f16_to_f32(u16_at(stored.data() + 2 * i));
  const std::uint32_t mask = (1u << shape.bits) - 1, width = shape.group_size;
  std::vector<float> weights, sum(width);
  for (std::size_t index = 1; index < tensor.chunks.size(); ++index) {
    const auto first_row = static_cast<std::uint32_t>((index - 1) * tensor.rows_per_tile);
    shape.rows = std::min(tensor.rows_per_tile, outputs - first_row);
    Bytes bytes = checked_chunk(store, tensor.chunks[index]);
    check_size(tensor, bytes, shape.bytes());
    const std::size_t scales_at = shape.code_bytes();
    bytes.resize(bytes.size() + 4);  // a code is read as part of a 32-bit word
    weights.resize(std::size_t{shape.rows} * shape.inputs);
    for (std::uint32_t row = 0; row < shape.rows; ++row) {
      const std::uint32_t panel = row / kPanelRows, lane = row % kPanelRows;
      const float scale = f16_to_f32(u16_at(bytes.data() + scales_at + 2 * row));
      for (std::uint32_t group = 0; group < shape.groups(); ++group) {
        std::fill(sum.begin(), sum.end(), 0.0f);
        for (std::uint32_t book = 0; book < shape.codebooks; ++book) {
          const std::size_t sixteen =
              ((std::size_t{panel} * shape.groups() + group) * shape.codebooks + book) * 2 * shape.bits;
          const std::size_t bit = std::size_t{lane} * shape.bits;
          std::uint32_t word;
          std::memcpy(&word, bytes.data() + sixteen + bit / 8, sizeof word);
          const std::size_t entry = (std::size_t{book} << shape.bits) + (word >> (bit % 8) & mask);
          for (std::uint32_t d = 0; d < width; ++d)
            sum[d] = book == 0 ? entries[entry * width + d] : sum[d] + entries[entry * width + d];
        }
        float* const to = weights.data() + std::size_t{row} * shape.inputs + std::size_t{group} * width;
        for (std::uint32_t d = 0; d < width; ++d) to[d] = scale * sum[d];
      }
    }
    visit(weights);
  }
}

float element(DType dtype, const std::uint8_t* bytes) {
  if (dtype == DType::f32) {
    float value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
  }
  if (dtype == DType::f64) {
    double value;
    std::memcpy(&value, bytes, sizeof value);
    return static_cast<float>(value);
  }
  return dtype == DType::f16 ? f16_to_f32(u16_at(bytes)) : bf16_to_f32(u16_at(bytes));
}

void visit_raw(const ArtifactStore& store, const TensorRecord& tensor,
               const std::function<void(std::span<const float>)>& visit) {
  const std::uint32_t width = dtype_bytes(tensor.dtype);
  std::vector<float> values;
  for (const ChunkRef& chunk : tensor.chunks) {
    const Bytes bytes = checked_chunk(store, chunk);
    values.resize(bytes.size() / width);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = element(tensor.dtype, bytes.data() + i * width);
    visit(values);
  }
}

}  // namespace

Bytes checked_chunk(const ArtifactStore& store, const ChunkRef& chunk) {
  Bytes bytes = store.get_chunk(chunk.digest);
  if (bytes.size() != chunk.bytes)
    throw Error(ErrorCode::corrupt, "chunk " + chunk.digest.short_hex() + " has " + std::to_string(bytes.size()) +
                                        " bytes, the manifest says " + std::to_string(chunk.bytes));
  return bytes;
}

PackedLinear::PackedLinear(const ArtifactStore& store, const TensorRecord& tensor)
    : store_(store),
      tensor_(tensor),
      outputs_(static_cast<std::uint32_t>(tensor.shape.at(0))),
      inputs_(static_cast<std::uint32_t>(tensor.shape.at(1))),
      groups_(PackedTileShape{1, inputs_, tensor.bits, tensor.group_size}.groups()),
      columns_(inputs_),
      group_of_(inputs_) {
  for (std::uint32_t k = 0; k < inputs_; ++k) columns_[k] = k;
  if (!tensor.permutation.digest.is_none()) {
    const Bytes bytes = checked_chunk(store, tensor.permutation);
    if (bytes.size() != std::size_t{inputs_} * 4)
      throw Error(ErrorCode::corrupt, tensor.name + ": the permutation does not have one entry per input");
    std::memcpy(columns_.data(), bytes.data(), bytes.size());
    std::vector<bool> seen(inputs_, false);
    for (const std::uint32_t column : columns_) {
      if (column >= inputs_ || seen[column])
        throw Error(ErrorCode::corrupt, tensor.name + ": the column order is not a permutation");
      seen[column] = true;
    }
  }
  const std::uint32_t group_size = tensor.group_size < 0 ? inputs_ : static_cast<std::uint32_t>(tensor.group_size);
  for (std::uint32_t k = 0; k < inputs_; ++k) group_of_[columns_[k]] = k / group_size;
}

bool PackedLinear::groups_in_order() const { return std::is_sorted(group_of_.begin(), group_of_.end()); }

RowTile PackedLinear::tile(std::size_t index) const {
  RowTile tile;
  tile.first_row = static_cast<std::uint32_t>(index * tensor_.rows_per_tile);
  tile.rows = std::min(tensor_.rows_per_tile, outputs_ - tile.first_row);
  const PackedTileShape shape{tile.rows, inputs_, tensor_.bits, tensor_.group_size};
  const Bytes bytes = checked_chunk(store_, tensor_.chunks.at(index));
  check_size(tensor_, bytes, shape.bytes());
  const std::uint8_t* const scales = bytes.data() + shape.code_bytes();
  const std::uint8_t* const zeros = scales + shape.scale_bytes();
  tile.codes.resize(std::size_t{tile.rows} * inputs_);
  tile.scales.resize(std::size_t{tile.rows} * groups_);
  tile.zeros.resize(tile.scales.size());
  for (std::uint32_t row = 0; row < tile.rows; ++row) {
    const std::uint32_t panel = row / kPanelRows, lane = row % kPanelRows;
    const std::uint8_t* const codes = bytes.data() + panel * shape.panel_code_bytes();
    for (std::uint32_t k = 0; k < inputs_; ++k)
      tile.codes[std::size_t{row} * inputs_ + columns_[k]] =
          static_cast<std::uint8_t>(code_at(codes, tensor_.bits, lane, k));
    for (std::uint32_t group = 0; group < groups_; ++group) {
      const std::size_t at = (std::size_t{panel} * groups_ + group) * kPanelRows + lane;
      const std::size_t to = std::size_t{row} * groups_ + group;
      tile.scales[to] = u16_at(scales + 2 * at);
      tile.zeros[to] = zeros[at];
    }
  }
  return tile;
}

bool holds_weights(const TensorRecord& tensor) {
  return tensor.layout != TensorLayout::raw || tensor.dtype == DType::f32 || tensor.dtype == DType::f16 ||
         tensor.dtype == DType::bf16 || tensor.dtype == DType::f64;
}

void visit_weights(const ArtifactStore& store, const TensorRecord& tensor,
                   const std::function<void(std::span<const float>)>& visit) {
  QUENCH_CHECK(holds_weights(tensor), tensor.name);
  switch (tensor.layout) {
    case TensorLayout::raw:
      return visit_raw(store, tensor, visit);
    case TensorLayout::packed:
      return visit_packed(store, tensor, visit);
    case TensorLayout::additive:
      return visit_additive(store, tensor, visit);
  }
}

Bytes rounded(std::span<const float> values, DType to, const std::string& tensor) {
  QUENCH_CHECK(to == DType::f16 || to == DType::bf16);
  Bytes bytes(values.size() * 2);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint16_t bits = to == DType::f16 ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
    if (std::isfinite(values[i]) && !std::isfinite(to == DType::f16 ? f16_to_f32(bits) : bf16_to_f32(bits)))
      throw Error(ErrorCode::bad_input, tensor + " holds " + std::to_string(values[i]) + ", which is too large for " +
                                            (to == DType::f16 ? "fp16: choose --format bf16" : "bf16: no format of this build holds it"));
    bytes[2 * i] = static_cast<std::uint8_t>(bits);
    bytes[2 * i + 1] = static_cast<std::uint8_t>(bits >> 8);
  }
  return bytes;
}

}  // namespace quench::coordinator
