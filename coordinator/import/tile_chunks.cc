#include "coordinator/import/tile_chunks.h"

#include <algorithm>
#include <cstring>

#include "schemas/error.h"
#include "schemas/packed_layout.h"

namespace quench::coordinator {
namespace {

constexpr std::uint16_t kHalfOne = 0x3c00;

void put_word(std::uint8_t* to, std::uint32_t word) {
  for (int byte = 0; byte < 4; ++byte) to[byte] = static_cast<std::uint8_t>(word >> (8 * byte));
}

// One row's words in the lines of a panel.
void put_row(const std::uint8_t* codes, std::uint32_t inputs, std::uint32_t bits, std::uint32_t lane, std::uint8_t* panel) {
  const std::uint32_t line_columns = bits == 3 ? 32 : 32 / bits;
  for (std::uint32_t first = 0; first < inputs; first += line_columns) {
    const std::uint32_t count = std::min(line_columns, inputs - first);
    std::uint8_t* const line = panel + first / line_columns * (bits == 3 ? 192 : 64) + lane * 4;
    std::uint32_t word = 0, second = 0, high = 0;
    for (std::uint32_t j = 0; j < count; ++j) {
      const std::uint32_t code = codes[first + j];
      if (bits != 3) {
        word |= code << (bits * j);
      } else {
        (j < 16 ? word : second) |= (code & 3) << (2 * (j % 16));
        high |= code >> 2 << j;
      }
    }
    put_word(line, word);
    if (bits == 3) {
      put_word(line + 64, second);
      put_word(line + 128, high);
    }
  }
}

Bytes grid_chunk(const GridLinear& linear, std::uint32_t first_row, const PackedTileShape& shape) {
  Bytes chunk(shape.bytes(), 0);
  std::uint8_t* const scales = chunk.data() + shape.code_bytes();
  std::uint8_t* const zeros = scales + shape.scale_bytes();
  const std::uint32_t groups = shape.groups();
  for (std::uint32_t row = 0; row < shape.panels() * kPanelRows; ++row) {
    const std::uint32_t panel = row / kPanelRows, lane = row % kPanelRows;
    const bool inside = row < shape.rows;
    const std::size_t from = std::size_t{first_row} + row;
    if (inside)
      put_row(linear.codes.data() + from * linear.inputs, linear.inputs, linear.bits, lane, chunk.data() + panel * shape.panel_code_bytes());
    for (std::uint32_t group = 0; group < groups; ++group) {
      const std::size_t at = (std::size_t{panel} * groups + group) * kPanelRows + lane;
      const std::uint16_t scale = inside ? linear.scales[from * groups + group] : kHalfOne;
      scales[2 * at] = static_cast<std::uint8_t>(scale);
      scales[2 * at + 1] = static_cast<std::uint8_t>(scale >> 8);
      zeros[at] = inside ? linear.zeros[from * groups + group] : 0;
    }
  }
  return chunk;
}

// Bits side by side from `bit` on, lowest first.
void put_bits(std::uint8_t* to, std::size_t bit, std::uint32_t bits, std::uint32_t code) {
  for (std::uint32_t i = 0; i < bits; ++i, ++bit)
    to[bit / 8] = static_cast<std::uint8_t>(to[bit / 8] | (code >> i & 1) << (bit % 8));
}

Bytes codebook_chunk(const CodebookLinear& linear, std::uint32_t first_row, const AdditiveTileShape& shape) {
  Bytes chunk(shape.bytes(), 0);
  std::uint8_t* const scales = chunk.data() + shape.code_bytes();
  for (std::uint32_t row = 0; row < shape.rows; ++row) {
    const std::uint32_t panel = row / kPanelRows, lane = row % kPanelRows;
    const std::size_t from = (std::size_t{first_row} + row) * shape.groups() * shape.codebooks;
    for (std::size_t i = 0; i < std::size_t{shape.groups()} * shape.codebooks; ++i) {
      const std::size_t sixteen = (std::size_t{panel} * shape.groups() * shape.codebooks + i) * 2 * shape.bits;
      put_bits(chunk.data() + sixteen, std::size_t{lane} * shape.bits, shape.bits, linear.codes[from + i]);
    }
    const std::uint16_t scale = linear.scales[first_row + row];
    scales[2 * row] = static_cast<std::uint8_t>(scale);
    scales[2 * row + 1] = static_cast<std::uint8_t>(scale >> 8);
  }
  return chunk;
}

TensorRecord record_of(const LinearShape& shape) {
  TensorRecord record;
  record.name = shape.tensor;
  record.shape = {shape.outputs, shape.inputs};
  record.rows_per_tile = tile_rows(shape.outputs, shape.inputs);
  return record;
}

Bytes little_endian(std::span<const std::uint16_t> values) {
  Bytes bytes(values.size() * 2);
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

}  // namespace

TensorRecord put_linear(const LinearShape& shape, const GridLinear& linear, const PutChunk& put) {
  QUENCH_CHECK(linear.outputs == shape.outputs && linear.inputs == shape.inputs, shape.tensor);
  TensorRecord record = record_of(shape);
  record.layout = TensorLayout::packed;
  record.bits = linear.bits;
  record.group_size = linear.group_size;
  if (!linear.columns.empty()) {
    Bytes bytes(linear.columns.size() * sizeof(std::int32_t));
    std::memcpy(bytes.data(), linear.columns.data(), bytes.size());
    record.permutation = put(std::move(bytes));
  }
  for (std::uint32_t tile = 0; tile < tile_count(shape); ++tile)
    record.chunks.push_back(put(grid_chunk(linear, tile * record.rows_per_tile,
                                           {rows_of_tile(shape, tile), shape.inputs, linear.bits, linear.group_size})));
  check_tensor_record(record);
  return record;
}

TensorRecord put_linear(const LinearShape& shape, const CodebookLinear& linear, const PutChunk& put) {
  QUENCH_CHECK(linear.outputs == shape.outputs && linear.inputs == shape.inputs, shape.tensor);
  TensorRecord record = record_of(shape);
  record.layout = TensorLayout::additive;
  record.bits = linear.bits;
  record.group_size = static_cast<std::int32_t>(linear.group_size);
  record.codebooks = linear.codebooks;
  record.chunks.push_back(put(little_endian(linear.entries)));
  for (std::uint32_t tile = 0; tile < tile_count(shape); ++tile)
    record.chunks.push_back(put(codebook_chunk(linear, tile * record.rows_per_tile,
                                               {rows_of_tile(shape, tile), shape.inputs, linear.codebooks, linear.bits, linear.group_size})));
  check_tensor_record(record);
  return record;
}

}  // namespace quench::coordinator
