// One linear of a model, y = x Wᵀ with W [outputs, inputs], in the panels that the kernels compute on: dense
// in its stored type, or packed codes as an artifact holds them. Dense and packed go through one and the same
// kernel order, so a packed linear gives exactly the bits of a dense one that holds its dequantized weights.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "schemas/packed_layout.h"
#include "worker/model/activation_buffer.h"
#include "worker/model/weights.h"

namespace quench::worker {

// How a linear of eight bits takes its inputs: as they are, or rounded to whole numbers (Backend::integer_gemm).
struct InputRounding {
  Activations kind = Activations::none;
  float scale = 0;  // of a step, for Activations::fixed
};

class Linear {
 public:
  Linear() = default;

  // Each takes its memory from the backend that is to use it (Backend::memory), which outlives it; with nullptr from
  // the host, from where a GPU's backend fetches it at every forward.
  //
  // From row-major weights as stored (fp32, fp16 or bf16), already checked to be finite.
  // `stored.size()` is outputs × inputs × the type's bytes.
  static Linear dense(std::span<const std::uint8_t> stored, kernels::ElementType type, std::int64_t outputs,
                      std::int64_t inputs, kernels::Memory* memory = nullptr);
  static Linear dense(std::span<const float> weights, std::int64_t outputs, std::int64_t inputs);
  // An empty packed linear; every tile must be set before forward(). `permutation` as in
  // TensorRecord: column k of the codes is column permutation[k] of the source; empty: identity.
  static Linear packed(std::int64_t outputs, std::int64_t inputs, int bits, std::int64_t group_size,
                       std::int64_t rows_per_tile, std::vector<std::int32_t> permutation,
                       kernels::Memory* memory = nullptr, InputRounding rounding = {});
  // The same of codebook entries (TensorLayout::additive); `codebooks` are the bytes of its first chunk, size and values
  // checked.
  static Linear additive(std::int64_t outputs, std::int64_t inputs, const AdditiveTileShape& shape,
                         std::int64_t rows_per_tile, std::span<const std::uint8_t> codebooks);
  // Reads the whole tensor `name` in any layout.
  static Linear load(const WeightSource& source, const std::string& name, kernels::Memory* memory = nullptr);

  // Row tile `tile`: the bytes of its chunk (schemas/packed_layout.h), their size checked by the caller.
  void set_tile(std::int64_t tile, std::span<const std::uint8_t> chunk);
  // Several, each another one, on the backend's host threads.
  struct TileChunk {
    std::int64_t tile = 0;
    std::span<const std::uint8_t> chunk;
  };
  void set_tiles(kernels::Backend& backend, std::span<const TileChunk> tiles);

  std::int64_t outputs() const { return additive_ ? additive_->outputs : panels_.rows; }
  std::int64_t inputs() const { return additive_ ? additive_->shape.inputs : panels_.cols; }
  // Bytes of memory its weights take.
  std::size_t bytes() const {
    return additive_ ? additive_->bytes() : panels_.bytes() + permutation_.size() * sizeof(std::int32_t);
  }

  // y [M, outputs] = x [M, inputs] Wᵀ. x and y do not overlap. `gathered` is scratch for act-order.
  void forward(kernels::Backend& backend, kernels::ConstMatrixView x, kernels::MatrixView y,
               ActivationBuffer& gathered) const;
  // Of a linear of codebook entries, all tiles set; valid as long as this is.
  kernels::AdditiveView additive_view() const;
  // W as fp32, row-major [outputs, inputs], columns in the source's order.
  std::vector<float> dequantized() const;

 private:
  // Codes as in the chunks, entries and scales as fp32.
  struct Additive {
    AdditiveTileShape shape;  // rows: a multiple of 16 that holds all outputs
    std::int64_t outputs = 0;
    std::vector<std::uint8_t> codes;
    std::vector<float> entries;
    std::vector<float> scales;
    std::size_t bytes() const { return codes.size() + (entries.size() + scales.size()) * sizeof(float); }
    kernels::AdditiveView view() const;
  };
  void put_tile(const TileChunk& tile);
  void tile_is_set(std::int64_t tile);
  void set_packed_tile(std::int64_t first_row, std::span<const std::uint8_t> chunk);
  void set_additive_tile(std::int64_t first_row, std::span<const std::uint8_t> chunk);

  std::optional<Additive> additive_;
  InputRounding rounding_;
  kernels::WeightPanels panels_;
  kernels::Memory* memory_ = nullptr;
  std::vector<std::int32_t> permutation_;
  std::int64_t rows_per_tile_ = 0;
  std::vector<bool> tile_set_;
  std::int64_t tiles_missing_ = 0;
};

}  // namespace quench::worker
