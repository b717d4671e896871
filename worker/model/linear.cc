#include "worker/model/linear.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "schemas/error.h"
#include "schemas/packed_layout.h"

namespace quench::worker {

Linear Linear::dense(std::span<const std::uint8_t> stored, kernels::ElementType type, std::int64_t outputs,
                     std::int64_t inputs, kernels::Memory* memory) {
  QUENCH_CHECK(stored.size() == static_cast<std::size_t>(outputs * inputs) * kernels::element_bytes(type),
               stored.size(), outputs, inputs);
  const auto format = type == kernels::ElementType::f32   ? kernels::WeightFormat::f32
                      : type == kernels::ElementType::f16 ? kernels::WeightFormat::f16
                                                          : kernels::WeightFormat::bf16;
  Linear linear;
  linear.panels_ = kernels::WeightPanels::allocate(format, outputs, inputs, -1, memory);
  kernels::pack_dense(stored.data(), type, linear.panels_);
  linear.panels_.to_device(memory);
  return linear;
}

Linear Linear::dense(std::span<const float> weights, std::int64_t outputs, std::int64_t inputs) {
  const std::span<const std::uint8_t> bytes(reinterpret_cast<const std::uint8_t*>(weights.data()),
                                            weights.size_bytes());
  return dense(bytes, kernels::ElementType::f32, outputs, inputs);
}

Linear Linear::packed(std::int64_t outputs, std::int64_t inputs, int bits, std::int64_t group_size,
                      std::int64_t rows_per_tile, std::vector<std::int32_t> permutation, kernels::Memory* memory,
                      InputRounding rounding) {
  QUENCH_CHECK(rows_per_tile > 0 && rows_per_tile % kernels::kPanelRows == 0, rows_per_tile);
  const bool rounds = rounding.kind != Activations::none;
  QUENCH_CHECK(!rounds || (bits == 8 && group_size == -1 && permutation.empty() && inputs <= kIntegerInputsMax), bits, group_size, inputs);
  // No device has a kernel for them yet: the host's, which multiplies them, finds them in its own memory.
  if (rounds) memory = nullptr;
  QUENCH_CHECK(permutation.empty() || std::cmp_equal(permutation.size(), inputs), permutation.size(), inputs);
  Linear linear;
  linear.panels_ = kernels::WeightPanels::allocate(kernels::packed_format(bits), outputs, inputs, group_size, memory);
  linear.memory_ = memory;
  linear.rounding_ = rounding;
  linear.permutation_ = std::move(permutation);
  linear.rows_per_tile_ = rows_per_tile;
  linear.tiles_missing_ = (outputs + rows_per_tile - 1) / rows_per_tile;
  linear.tile_set_.resize(static_cast<std::size_t>(linear.tiles_missing_));
  return linear;
}

kernels::AdditiveView Linear::Additive::view() const {
  kernels::AdditiveView view;
  view.rows = outputs;
  view.cols = shape.inputs;
  view.codebooks = static_cast<int>(shape.codebooks);
  view.bits = static_cast<int>(shape.bits);
  view.code_bits = static_cast<int>(shape.bits);
  view.group = static_cast<int>(shape.group_size);
  view.codes = codes.data();
  view.entries = entries.data();
  view.scales = scales.data();
  return view;
}

Linear Linear::additive(std::int64_t outputs, std::int64_t inputs, const AdditiveTileShape& shape,
                        std::int64_t rows_per_tile, std::span<const std::uint8_t> codebooks) {
  QUENCH_CHECK(rows_per_tile > 0 && rows_per_tile % kernels::kPanelRows == 0, rows_per_tile);
  QUENCH_CHECK(codebooks.size() == shape.codebook_bytes(), codebooks.size(), shape.codebook_bytes());
  Linear linear;
  Additive& own = linear.additive_.emplace();
  own.shape = shape;
  own.shape.inputs = static_cast<std::uint32_t>(inputs);
  own.shape.rows = static_cast<std::uint32_t>(outputs);
  own.outputs = outputs;
  own.codes.resize(own.shape.code_bytes() + kernels::kCodePadding);
  own.scales.resize(own.shape.scale_bytes() / 2);
  own.entries.resize(codebooks.size() / 2);
  kernels::convert_to_f32(codebooks.data(), kernels::ElementType::f16, own.entries.size(), own.entries.data());
  linear.rows_per_tile_ = rows_per_tile;
  linear.tiles_missing_ = (outputs + rows_per_tile - 1) / rows_per_tile;
  linear.tile_set_.resize(static_cast<std::size_t>(linear.tiles_missing_));
  return linear;
}

Linear Linear::load(const WeightSource& source, const std::string& name, kernels::Memory* memory) {
  const StoredTensor& stored = source.tensor(name);
  const auto outputs = static_cast<std::int64_t>(stored.rows());
  const auto inputs = static_cast<std::int64_t>(stored.columns());
  if (stored.layout == TensorLayout::raw)
    return dense(read_stored_rows(source, name, 0, stored.rows()), element_type(stored.dtype), outputs,
                 inputs, memory);
  if (stored.layout == TensorLayout::additive) {
    const AdditiveTileShape shape{0, static_cast<std::uint32_t>(inputs), stored.codebooks, stored.bits,
                                  static_cast<std::uint32_t>(stored.group_size)};
    Linear linear =
        additive(outputs, inputs, shape, static_cast<std::int64_t>(stored.rows_per_tile), source.read_codebooks(name));
    for (std::uint64_t tile = 0; tile < stored.tiles(); ++tile)
      linear.set_tile(static_cast<std::int64_t>(tile), source.read_tile(name, tile));
    return linear;
  }
  Linear linear = packed(outputs, inputs, static_cast<int>(stored.bits), stored.group_size,
                         static_cast<std::int64_t>(stored.rows_per_tile), source.read_permutation(name), memory,
                         {stored.activations, stored.activation_scale});
  for (std::uint64_t tile = 0; tile < stored.tiles(); ++tile)
    linear.set_tile(static_cast<std::int64_t>(tile), source.read_tile(name, tile));
  return linear;
}

void Linear::put_tile(const TileChunk& tile) {
  QUENCH_CHECK(tile.tile >= 0 && std::cmp_less(tile.tile, tile_set_.size()), tile.tile, tile_set_.size());
  const std::int64_t first_row = tile.tile * rows_per_tile_;
  if (additive_)
    set_additive_tile(first_row, tile.chunk);
  else
    set_packed_tile(first_row, tile.chunk);
}

void Linear::tile_is_set(std::int64_t tile) {
  const auto index = static_cast<std::size_t>(tile);
  if (!tile_set_[index]) --tiles_missing_;
  tile_set_[index] = true;
  if (tiles_missing_ == 0 && !additive_) panels_.to_device(memory_);
}

void Linear::set_tile(std::int64_t tile, std::span<const std::uint8_t> chunk) {
  put_tile({tile, chunk});
  tile_is_set(tile);
}

void Linear::set_tiles(kernels::Backend& backend, std::span<const TileChunk> tiles) {
  backend.on_host_threads(std::ssize(tiles), [&](std::int64_t i) { put_tile(tiles[static_cast<std::size_t>(i)]); });
  for (const TileChunk& tile : tiles) tile_is_set(tile.tile);
}

void Linear::set_additive_tile(std::int64_t first_row, std::span<const std::uint8_t> chunk) {
  AdditiveTileShape shape = additive_->shape;
  shape.rows = static_cast<std::uint32_t>(std::min(rows_per_tile_, outputs() - first_row));
  QUENCH_CHECK(chunk.size() == shape.bytes(), chunk.size(), shape.bytes());
  const auto first_panel = static_cast<std::size_t>(first_row / kernels::kPanelRows);
  const std::size_t panel_bytes = shape.code_bytes() / shape.panels();
  std::memcpy(additive_->codes.data() + first_panel * panel_bytes, chunk.data(), shape.code_bytes());
  kernels::convert_to_f32(chunk.data() + shape.code_bytes(), kernels::ElementType::f16, shape.scale_bytes() / 2,
                          additive_->scales.data() + first_panel * kernels::kPanelRows);
}

void Linear::set_packed_tile(std::int64_t first_row, std::span<const std::uint8_t> chunk) {
  const PackedTileShape shape{
      .rows = static_cast<std::uint32_t>(std::min(rows_per_tile_, panels_.rows - first_row)),
      .inputs = static_cast<std::uint32_t>(panels_.cols),
      .bits = static_cast<std::uint32_t>(kernels::code_bits(panels_.format)),
      .group_size = static_cast<std::int32_t>(panels_.group_size)};
  QUENCH_CHECK(chunk.size() == shape.bytes(), chunk.size(), shape.bytes());

  // The chunk has the kernels' own bytes: panels of codes, then of scales, then of zeros.
  const std::size_t first_panel = static_cast<std::size_t>(first_row / kernels::kPanelRows);
  const std::size_t panel_code_bytes = kernels::panel_bytes(panels_.format, panels_.cols);
  QUENCH_CHECK(panel_code_bytes == shape.panel_code_bytes(), panel_code_bytes, shape.panel_code_bytes());
  const std::size_t panel_values = shape.groups() * kernels::kPanelRows;
  const std::uint8_t* from = chunk.data();
  std::memcpy(panels_.panels.data() + first_panel * panel_code_bytes, from, shape.code_bytes());
  from += shape.code_bytes();
  std::memcpy(panels_.scales.data() + first_panel * panel_values, from, shape.scale_bytes());
  from += shape.scale_bytes();
  std::memcpy(panels_.zeros.data() + first_panel * panel_values, from, shape.zero_bytes());
}

void Linear::forward(kernels::Backend& backend, kernels::ConstMatrixView x, kernels::MatrixView y,
                     ActivationBuffer& gathered) const {
  QUENCH_CHECK(tiles_missing_ == 0, tiles_missing_);
  if (additive_) {
    kernels::to_host(backend.memory(), x);
    backend.codebooks().gemm(x, additive_->view(), y);
    kernels::to_device(backend.memory(), y);
    return;
  }
  if (rounding_.kind != Activations::none) return backend.integer_gemm(x, rounding_.scale, panels_.view(), y);
  if (!permutation_.empty()) {
    const kernels::MatrixView permuted = gathered.matrix(x.rows, x.cols, backend.memory());
    backend.gather_columns(x, permutation_, permuted);
    x = permuted;
  }
  backend.gemm(x, panels_.view(), y);
}

kernels::AdditiveView Linear::additive_view() const {
  QUENCH_CHECK(additive_.has_value() && tiles_missing_ == 0, tiles_missing_);
  return additive_->view();
}

std::vector<float> Linear::dequantized() const {
  QUENCH_CHECK(tiles_missing_ == 0, tiles_missing_);
  if (additive_) {
    std::vector<float> values(static_cast<std::size_t>(outputs() * inputs()));
    const auto host = kernels::make_cpu_backend({});
    host->codebooks().dequantize(additive_->view(), {values.data(), outputs(), inputs()});
    return values;
  }
  const auto columns = static_cast<std::size_t>(panels_.cols);
  std::vector<float> weights(static_cast<std::size_t>(panels_.rows) * columns);
  kernels::dequantize(panels_.view(), {weights.data(), panels_.rows, panels_.cols});
  if (permutation_.empty()) return weights;
  std::vector<float> row(columns);
  for (std::size_t first = 0; first < weights.size(); first += columns) {
    for (std::size_t k = 0; k < columns; ++k)
      row[static_cast<std::size_t>(permutation_[k])] = weights[first + k];
    std::copy(row.begin(), row.end(), weights.begin() + static_cast<std::ptrdiff_t>(first));
  }
  return weights;
}

}  // namespace quench::worker
