#include "worker/quantize/awq/scaled_block.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "schemas/error.h"
#include "worker/quantize/awq/scale_search.h"
#include "worker/quantize/block_parts.h"
#include "worker/quantize/methods.h"

namespace quench::worker {
namespace {

using kernels::AlignedBuffer;
using kernels::ConstMatrixView;
using kernels::MatrixView;

// Rows of a linear that its scales are judged by, evenly spread where it has more. Part of the result.
constexpr std::uint32_t kJudgedRows = 1024;

class ScaledPass {
 public:
  ScaledPass(const GangContext& context, const QuantizeSpec& recipe, std::uint32_t layer)
      : context_(context),
        recipe_(recipe),
        linears_(block_linears(context.source.config(), layer)),
        vectors_(block_vectors(context.source.config(), layer)),
        dealer_(context.gang.rank(), context.gang.world()) {
    for (std::size_t i = 0; i < linears_.size(); ++i) {
      const LinearShape& linear = linears_[i];
      if (recipe.group_size > 0 && linear.inputs % static_cast<std::uint32_t>(recipe.group_size) != 0)
        throw Error(ErrorCode::bad_input, "tensor \"" + linear.tensor + "\" has " + std::to_string(linear.inputs) +
                                              " inputs, which groups of " + std::to_string(recipe.group_size) +
                                              " do not divide");
      stored_[i] = read_shared(context_, linear);
      original_.linears[linear.role] = Linear::dense(bytes_of(stored_[i]), type_of(i), linear.outputs, linear.inputs, context_.backend.memory());
    }
    load_vectors(context_.source, layer, original_);
    for (std::size_t i = 0; i < vectors_.size(); ++i) own_vectors_.push_back(dealer_.deal());
    index_ = vectors_.size();
  }

  CalibratedBlock run(const BlockContext& forward_context, std::int64_t length, std::int64_t total_tokens, MatrixView hidden,
                      const std::function<void(const std::string&)>& on_step) {
    kernels::Memory* const memory = context_.backend.memory();
    const std::vector<std::int64_t> lengths(static_cast<std::size_t>(hidden.rows / length), length);
    {
      kernels::to_host(memory, hidden);
      AlignedBuffer<float> copy(static_cast<std::size_t>(hidden.rows * hidden.cols), memory);
      const MatrixView input(copy.data(), hidden.rows, hidden.cols);
      for (std::int64_t row = 0; row < hidden.rows; ++row) std::copy_n(hidden.row(row), hidden.cols, input.row(row));
      kernels::to_device(memory, input);
      BlockForward forward(forward_context, original_, lengths, input);
      for (std::uint32_t stage = 0; stage < kBlockStages; ++stage) {
        const std::string names = stage_names(linears_, stage);
        on_step("forward to " + names);
        const ConstMatrixView inputs = forward.stage_input(stage);
        on_step("hessian " + names);
        hessians_[stage] = sum(inputs, length, total_tokens, names);
        const ModelConfig& config = forward_context.config;
        const bool has_scales = stage == 1 ? config.heads == config.kv_heads : stage != 3 || config.gated_mlp;
        if (has_scales) {
          const std::vector<double> magnitudes =
              mean_magnitudes(context_.backend, context_.gang, inputs, total_tokens, names);
          on_step("scales " + names);
          choose_scales(stage, magnitudes, names);
        }
        if (stage % 2 == 0) continue;
        // Both v and o, both up and down: the scales of the later go into the rows of the earlier.
        for (std::size_t i = 0; i < linears_.size(); ++i)
          if (linears_[i].stage + 1 == stage || linears_[i].stage == stage) {
            on_step("solve " + linears_[i].short_name);
            solve(i);
          }
        hessians_[stage - 1] = {};
        hessians_[stage] = {};
      }
    }
    put_vectors();
    on_step("forward");
    BlockForward(forward_context, quantized_, lengths, hidden).finish();
    return finish();
  }

 private:
  kernels::ElementType type_of(std::size_t which) const {
    return element_type(context_.source.tensor(linears_[which].tensor).dtype);
  }

  Hessian sum(ConstMatrixView inputs, std::int64_t length, std::int64_t total_tokens, const std::string& names) {
    std::vector<ConstMatrixView> sequences;
    for (std::int64_t row = 0; row < inputs.rows; row += length) sequences.push_back(inputs.row_range(row, length));
    return sum_hessian(context_.backend, context_.gang, sequences, inputs.cols, total_tokens, false, names);
  }

  // Rows [first, first + rows.rows) of a linear as the source has them.
  void read(std::size_t which, std::int64_t first, MatrixView rows) const {
    const kernels::ElementType type = type_of(which);
    const std::uint64_t row_bytes = linears_[which].inputs * kernels::element_bytes(type);
    kernels::convert_to_f32(stored_[which].data() + static_cast<std::uint64_t>(first) * row_bytes, type,
                            static_cast<std::size_t>(rows.rows * rows.cols), rows.data);
  }

  void choose_scales(std::uint32_t stage, std::span<const double> magnitudes, const std::string& names) {
    std::vector<AlignedBuffer<float>> memory;
    std::vector<SampledRows> sampled;
    for (std::size_t i = 0; i < linears_.size(); ++i) {
      const LinearShape& linear = linears_[i];
      if (linear.stage != stage) continue;
      const std::uint32_t judged = std::min(kJudgedRows, linear.outputs);
      std::vector<std::int64_t> own;
      for (std::uint32_t at = context_.gang.rank(); at < judged; at += context_.gang.world())
        own.push_back(static_cast<std::int64_t>(std::uint64_t{at} * linear.outputs / judged));
      AlignedBuffer<float>& rows = memory.emplace_back(own.size() * linear.inputs);
      const MatrixView view(rows.data(), static_cast<std::int64_t>(own.size()), linear.inputs);
      for (std::size_t row = 0; row < own.size(); ++row)
        read(i, own[row], view.row_range(static_cast<std::int64_t>(row), 1));
      sampled.push_back({view, static_cast<double>(linear.outputs) / judged});
    }
    ScaleChoice choice =
        search_scales(context_.backend, context_.gang, recipe_, sampled, hessians_[stage], magnitudes, names);
    if (context_.gang.rank() == 0) {
      char text[160];
      std::snprintf(text, sizeof text, "scales %s: ratio %.2f, loss %.4g -> %.4g", names.c_str(), choice.ratio,
                    choice.unscaled, choice.loss);
      context_.sink.log(text);
    }
    if (choice.ratio > 0) scales_.stages[stage] = std::move(choice.scales);
  }

  void solve(std::size_t which) {
    const LinearShape& linear = linears_[which];
    const std::uint32_t rows_per_tile = tile_rows(linear.outputs, linear.inputs);
    const TensorRecord record = packed_record(linear, recipe_);
    const std::int64_t rows_max = rows_solved_together(context_.backend, rows_per_tile, linear.inputs);
    AlignedBuffer<float> weights(static_cast<std::size_t>(rows_max) * linear.inputs);
    std::vector<std::uint8_t> mine;  // this rank's tiles one after another, for the all-gather
    const PieceDealer before = dealer_;
    std::vector<std::uint64_t> indices;
    std::int64_t rows = 0;
    for (std::uint32_t tile = 0; tile < tile_count(linear); ++tile, ++index_) {
      const bool last = tile + 1 == tile_count(linear);
      if (dealer_.deal()) {
        const std::int64_t first = std::int64_t{tile} * rows_per_tile;
        const MatrixView view(weights.data() + rows * linear.inputs, rows_of_tile(linear, tile), linear.inputs);
        read(which, first, view);
        scales_.fold_into_rows(linear.role, first, view);
        rows += view.rows;
        indices.push_back(index_);
      }
      if (rows == 0 || (rows < rows_max && !last)) continue;
      const MatrixView scaled(weights.data(), rows, linear.inputs);
      const RowLosses losses =
          clip_ranges(context_.backend, recipe_, hessians_[linear.stage], scales_.of_inputs(linear.role), scaled);
      std::vector<SolvedTile> solved = solve_tiles(context_.backend, recipe_, scaled, rows_per_tile, nullptr, nullptr);
      std::size_t row = 0;
      for (std::size_t i = 0; i < solved.size(); ++i) {
        double loss = 0, energy = 0;
        for (const std::size_t end = std::min(row + rows_per_tile, losses.losses.size()); row < end; ++row) {
          loss += losses.losses[row];
          energy += losses.energies[row];
        }
        mine.insert(mine.end(), solved[i].chunk.begin(), solved[i].chunk.end());
        records_.add(context_.sink, indices[i], solved[i].digest, std::move(solved[i].chunk), loss, energy);
      }
      indices.clear();
      rows = 0;
    }
    stored_[which] = {};

    quantized_.linears[linear.role] = take_packed_linear(context_, linear, record, {}, before, mine);
  }

  void put_vectors() {
    for (std::size_t i = 0; i < vectors_.size(); ++i) {
      std::vector<float>& vector = quantized_.vector(vectors_[i]);
      vector = original_.vector(vectors_[i]);
      scales_.fold_into_vector(vectors_[i], vector);
      if (own_vectors_[i]) put_norm(records_, context_.sink, i, vector);
    }
  }

  CalibratedBlock finish() {
    context_.sink.wait_until_stored();
    const std::vector<PieceRecords::Piece> pieces = records_.gather(context_.gang, index_, "block");
    CalibratedBlock result;
    std::uint64_t next = 0;
    for (const BlockVector& vector : vectors_)
      result.tensors.push_back(norm_record(context_.source, vector.tensor, pieces.at(next++)));
    for (const LinearShape& linear : linears_) {
      TensorRecord record = packed_record(linear, recipe_);
      take_tiles(linear, pieces, next, record, result.losses);
      result.tensors.push_back(std::move(record));
    }
    return result;
  }

  GangContext context_;
  QuantizeSpec recipe_;
  std::vector<LinearShape> linears_;
  std::vector<BlockVector> vectors_;
  PieceDealer dealer_;
  PieceRecords records_;
  std::uint64_t index_ = 0;  // the next piece; the vectors are the first
  std::vector<bool> own_vectors_;
  Block original_, quantized_;
  std::array<kernels::AlignedBuffer<std::uint8_t>, kBlockLinears> stored_;
  std::array<Hessian, kBlockStages> hessians_;
  BlockScales scales_;
};

}  // namespace

CalibratedBlock quantize_scaled_block(const GangContext& context, const QuantizeSpec& recipe, std::uint32_t layer,
                                      const kernels::RopeTable& rope, std::int64_t length, std::int64_t total_tokens,
                                      MatrixView hidden, const std::function<void(const std::string&)>& on_step) {
  ScaledPass pass(context, recipe, layer);
  return pass.run({context.backend, context.source.config(), rope}, length, total_tokens, hidden, on_step);
}

}  // namespace quench::worker
