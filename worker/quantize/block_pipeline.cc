#include "worker/quantize/block_pipeline.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <map>

#include "schemas/bit_budget.h"
#include "schemas/error.h"
#include "worker/quantize/aqlm/aqlm.h"
#include "worker/quantize/aqlm/block_gradient.h"
#include "worker/quantize/aqlm/fine_tuning.h"
#include "worker/quantize/awq/scaled_block.h"
#include "worker/quantize/block_parts.h"
#include "worker/quantize/methods.h"
#include "worker/quantize/static_activations.h"

namespace quench::worker {
namespace {

using kernels::ConstMatrixView;
using kernels::MatrixView;

std::vector<QuantizeSpec> recipes_of(const QuantizeSpec& recipe, std::span<const BitChoice> choices,
                                     const std::vector<LinearShape>& linears) {
  std::vector<QuantizeSpec> recipes(linears.size(), recipe);
  if (recipe.budget_gib == 0) return recipes;
  for (std::size_t i = 0; i < linears.size(); ++i) {
    const auto choice = std::find_if(choices.begin(), choices.end(),
                                     [&](const BitChoice& one) { return one.tensor == linears[i].tensor; });
    if (choice == choices.end())
      throw Error(ErrorCode::internal, "no bits were chosen for " + linears[i].tensor);
    recipes[i] = with_choice(recipe, choice->bits, choice->group_size);
  }
  return recipes;
}

// One block being quantized by a calibrated method.
class CalibratedPass {
 public:
  CalibratedPass(const GangContext& context, const QuantizeSpec& recipe, std::uint32_t layer)
      : context_(context),
        recipe_(recipe),
        layer_(layer),
        linears_(block_linears(context.source.config(), layer)),
        recipes_(recipes_of(recipe, context.choices, linears_)),
        vectors_(block_vectors(context.source.config(), layer)),
        dealer_(context.gang.rank(), context.gang.world()) {
    for (std::size_t i = 0; i < linears_.size(); ++i) {
      if (recipe.method == Method::aqlm) check_additive(recipe, linears_[i].outputs, linears_[i].inputs, linears_[i].tensor);
      stored_[i] = read_shared(context_, linears_[i]);
      // Only what is tuned is run as it was: each linear is quantized before anything passes through it.
      if (!tunes()) continue;
      const StoredTensor& tensor = context_.source.tensor(linears_[i].tensor);
      block_.linears[linears_[i].role] =
          Linear::dense(bytes_of(stored_[i]), element_type(tensor.dtype), linears_[i].outputs, linears_[i].inputs,
                        context_.backend.memory());
    }
    load_vectors(context_.source, layer, block_);
    // Norms that are trained are put when they are, as fp32.
    for (const BlockVector& vector : vectors_) {
      if (!tunes())
        put_raw_pieces(context_.source, vector.tensor, dealer_, index_, records_, context_.sink);
      else
        norm_pieces_.push_back({index_++, dealer_.deal()});
    }
  }

  CalibratedBlock run(const BlockContext& forward_context, std::int64_t length, std::int64_t total_tokens,
                      MatrixView hidden, const std::function<void(const std::string&)>& on_step) {
    const std::vector<std::int64_t> lengths(static_cast<std::size_t>(hidden.rows / length), length);
    kernels::AlignedBuffer<float> inputs, targets;
    if (tunes()) {
      kernels::to_host(context_.backend.memory(), hidden);
      inputs = copy_of(hidden);
      targets = kernels::AlignedBuffer<float>(inputs.size(), context_.backend.memory());
      const MatrixView output(targets.data(), hidden.rows, hidden.cols);
      std::copy(inputs.data(), inputs.data() + inputs.size(), output.data);
      kernels::to_device(context_.backend.memory(), output);
      on_step("forward of the original block");
      BlockForward(forward_context, block_, lengths, output).finish();
      kernels::to_host(context_.backend.memory(), output);
    }
    BlockForward forward(forward_context, block_, lengths, hidden);
    for (std::uint32_t stage = 0; stage < kBlockStages; ++stage) {
      const std::string names = stage_names(linears_, stage);
      on_step("forward to " + names);
      const ConstMatrixView input = forward.stage_input(stage);
      on_step("hessian " + names);
      run_stage(stage, names, input, length, total_tokens, on_step);
    }
    on_step("forward");
    forward.finish();
    if (tunes()) {
      const ConstMatrixView from(inputs.data(), hidden.rows, hidden.cols);
      TuningData data{from, {targets.data(), hidden.rows, hidden.cols}, length,
                      static_cast<std::uint32_t>(total_tokens / length), {}};
      data.share = sequence_share(data.sequences, context_.gang.rank(), context_.gang.world());
      tune(forward_context, data, on_step);
      std::copy(inputs.data(), inputs.data() + inputs.size(), hidden.data);
      kernels::to_device(context_.backend.memory(), hidden);
      BlockForward(forward_context, block_, lengths, hidden).finish();
    }
    return finish();
  }

 private:
  void run_stage(std::uint32_t stage, const std::string& names, ConstMatrixView input, std::int64_t length,
                 std::int64_t total_tokens, const std::function<void(const std::string&)>& on_step) {
    std::vector<ConstMatrixView> sequences;
    for (std::int64_t row = 0; row < input.rows; row += length)
      sequences.push_back(input.row_range(row, length));
    const std::int64_t columns = input.cols;
    const Hessian hessian = sum_hessian(context_.backend, context_.gang, sequences, columns, total_tokens,
                                        recipe_.act_order, names);
    on_step("factor " + names);
    const auto solve = [&](const auto& solve_one) {
      on_step("solve " + names);
      for (std::size_t i = 0; i < linears_.size(); ++i)
        if (linears_[i].stage == stage) solve_one(i);
    };
    if (recipe_.method == Method::aqlm) {
      const std::vector<Factor> starts = factor_for_starts(context_.backend, context_.gang, hessian, names);
      solve([&](std::size_t which) { solve_codebooks(which, hessian, starts); });
    } else {
      const Factor factor = factor_hessian(context_.backend, context_.gang, hessian, recipe_.damping, names);
      solve([&](std::size_t which) { solve_linear(which, hessian, factor); });
    }
  }

  // All of this rank's tiles at once: the ranks agree on the codebooks over all rows.
  void solve_codebooks(std::size_t which, const Hessian& hessian, std::span<const Factor> starts) {
    const LinearShape& linear = linears_[which];
    const kernels::ElementType type = element_type(context_.source.tensor(linear.tensor).dtype);
    const std::uint64_t row_bytes = linear.inputs * kernels::element_bytes(type);
    const std::uint32_t rows_per_tile = tile_rows(linear.outputs, linear.inputs);
    const LinearRows rows{linear.outputs, linear.inputs, [&](std::int64_t row, float* out) {
                            kernels::convert_to_f32(stored_[which].data() + static_cast<std::uint64_t>(row) * row_bytes, type,
                                                    linear.inputs, out);
                          }};
    const PieceDealer before = dealer_;
    std::vector<std::uint32_t> tiles;
    std::vector<std::uint64_t> indices;
    std::int64_t own_rows = 0;
    for (std::uint32_t tile = 0; tile < tile_count(linear); ++tile, ++index_)
      if (dealer_.deal()) {
        tiles.push_back(tile);
        indices.push_back(index_);
        own_rows += rows_of_tile(linear, tile);
      }
    kernels::AlignedBuffer<float> own(static_cast<std::size_t>(own_rows) * linear.inputs);
    float* next = own.data();
    for (const std::uint32_t tile : tiles)
      for (std::uint32_t row = 0; row < rows_of_tile(linear, tile); ++row, next += linear.inputs)
        rows.read(std::int64_t{tile} * rows_per_tile + row, next);
    const AdditiveSolution solution =
        solve_additive(context_.backend, context_.gang, recipe_, ConstMatrixView(own.data(), own_rows, linear.inputs), rows,
                       hessian, starts, linear.tensor);
    stored_[which] = {};

    TensorRecord record = packed_record(linear, recipe_);
    std::vector<std::uint8_t> codebooks = solution.codebook_chunk();
    Linear quantized = Linear::additive(linear.outputs, linear.inputs, solution.shape, rows_per_tile, codebooks);
    if (!tunes()) put_codebooks(record, std::move(codebooks));
    std::vector<std::uint8_t> mine;
    std::int64_t row = 0;
    for (std::size_t i = 0; i < tiles.size(); ++i) {
      const std::int64_t count = rows_of_tile(linear, tiles[i]);
      std::vector<std::uint8_t> chunk = solution.tile_chunk(row, count);
      double loss = 0, energy = 0;
      for (std::int64_t end = row + count; row < end; ++row) {
        loss += solution.losses[static_cast<std::size_t>(row)];
        energy += solution.energies[static_cast<std::size_t>(row)];
      }
      mine.insert(mine.end(), chunk.begin(), chunk.end());
      if (tunes())
        tiles_to_tune_.push_back({which, tiles[i], indices[i], loss, energy});
      else
        records_.add(context_.sink, indices[i], std::move(chunk), loss, energy);
    }
    take_all_tiles(context_, linear, before, mine, quantized, [&](std::uint32_t rows_of_one) {
      AdditiveTileShape shape = solution.shape;
      shape.rows = rows_of_one;
      return shape.bytes();
    });
    keep(which, std::move(quantized), std::move(record));
  }

  void put_codebooks(TensorRecord& record, std::vector<std::uint8_t> codebooks) {
    record.chunks.push_back({sha256(codebooks), codebooks.size()});
    if (context_.gang.rank() == 0) context_.sink.put_chunk(record.chunks[0].digest, std::move(codebooks));
  }

  bool tunes() const { return recipe_.fine_tuning != FineTuning::none; }

  static kernels::AlignedBuffer<float> copy_of(ConstMatrixView from) {
    kernels::AlignedBuffer<float> copy(static_cast<std::size_t>(from.rows * from.cols));
    for (std::int64_t row = 0; row < from.rows; ++row) std::copy_n(from.row(row), from.cols, copy.data() + row * from.cols);
    return copy;
  }

  // Trains the block and puts what it was kept back for: this rank's tiles, the codebooks, the norms.
  void tune(const BlockContext& forward_context, const TuningData& data, const std::function<void(const std::string&)>& on_step) {
    TrainedBlock trained(context_.backend, forward_context.config, forward_context.rope, block_);
    const TuningResult result = tune_block(context_.gang, recipe_, data, tuning_file(context_, layer_), trained, on_step);
    if (context_.gang.rank() == 0) {
      if (result.kept_epochs > 0)
        context_.sink.log("block fine-tuning: went on after epoch " + std::to_string(result.kept_epochs) + " of before the interruption");
      char text[128];
      std::snprintf(text, sizeof text, "block fine-tuning: validation error %.4g -> %.4g in %u epochs", result.error_before,
                    result.error_after, result.epochs);
      context_.sink.log(text);
    }
    for (std::size_t i = 0; i < linears_.size(); ++i) {
      const LinearShape& linear = linears_[i];
      const std::uint32_t rows_per_tile = tile_rows(linear.outputs, linear.inputs);
      std::vector<std::uint8_t> codebooks = trained.codebooks(i);
      Linear tuned = Linear::additive(linear.outputs, linear.inputs, trained.shape(i), rows_per_tile, codebooks);
      for (std::uint32_t tile = 0; tile < tile_count(linear); ++tile)
        tuned.set_tile(tile, trained.tile(i, std::int64_t{tile} * rows_per_tile, rows_of_tile(linear, tile)));
      put_codebooks(packed_records_[i], std::move(codebooks));
      block_.linears[linear.role] = std::move(tuned);
    }
    for (const TileToTune& tile : tiles_to_tune_) {
      const LinearShape& linear = linears_[tile.linear];
      const std::int64_t first = std::int64_t{tile.tile} * tile_rows(linear.outputs, linear.inputs);
      records_.add(context_.sink, tile.index, trained.tile(tile.linear, first, rows_of_tile(linear, tile.tile)), tile.loss,
                   tile.energy);
    }
    block_.attention_norm.assign(trained.norm(0).begin(), trained.norm(0).end());
    block_.mlp_norm.assign(trained.norm(1).begin(), trained.norm(1).end());
    for (std::size_t n = 0; n < vectors_.size(); ++n)
      if (norm_pieces_[n].own) put_norm(records_, context_.sink, norm_pieces_[n].index, trained.norm(n));
  }

  void keep(std::size_t which, Linear linear, TensorRecord record) {
    block_.linears[linears_[which].role] = std::move(linear);
    packed_records_[which] = std::move(record);
    // The pieces' plan order is the order of solving, by stage; losses are put in linear order at the end.
    solved_order_.push_back(which);
  }

  void solve_linear(std::size_t which, const Hessian& hessian, const Factor& factor) {
    const LinearShape& linear = linears_[which];
    const StoredTensor& tensor = context_.source.tensor(linear.tensor);
    const std::uint32_t rows_per_tile = tile_rows(linear.outputs, linear.inputs);
    const std::uint64_t row_bytes = std::uint64_t{linear.inputs} * dtype_bytes(tensor.dtype);
    // The chunk of column order, when there is one, is a piece like any other.
    TensorRecord record = packed_record(linear, recipes_[which]);
    if (!hessian.processing.empty()) {
      std::vector<std::uint8_t> bytes(hessian.processing.size() * sizeof(std::int32_t));
      std::memcpy(bytes.data(), hessian.processing.data(), bytes.size());
      record.permutation = {sha256(bytes), bytes.size()};
      if (context_.gang.rank() == 0) context_.sink.put_chunk(record.permutation.digest, std::move(bytes));
    }

    const PieceDealer before = dealer_;
    std::vector<std::uint32_t> tiles;  // this rank's
    std::vector<std::uint64_t> indices;
    for (std::uint32_t tile = 0; tile < tile_count(linear); ++tile, ++index_)
      if (dealer_.deal()) {
        tiles.push_back(tile);
        indices.push_back(index_);
      }
    std::vector<std::uint8_t> mine;  // their chunks one after another, for the all-gather
    mine.reserve(tiles.size() * PackedTileShape{rows_per_tile, linear.inputs, record.bits, record.group_size}.bytes());
    const auto at_once = static_cast<std::size_t>(rows_solved_together(context_.backend, rows_per_tile, linear.inputs) / rows_per_tile);
    for (std::size_t first = 0; first < tiles.size(); first += at_once) {
      const std::span batch = std::span(tiles).subspan(first, std::min(at_once, tiles.size() - first));
      // Only the last of all tiles may be short, and it is the last of its rank's.
      const std::int64_t rows = std::int64_t{rows_per_tile} * (std::ssize(batch) - 1) + rows_of_tile(linear, batch.back());
      const MatrixView weights = room_for_weights(rows, linear.inputs);
      for (std::size_t i = 0, behind = 0; i < batch.size(); i = behind) {
        // Tiles side by side in one go.
        for (behind = i + 1; behind < batch.size() && batch[behind] == batch[behind - 1] + 1;) ++behind;
        const auto row = static_cast<std::int64_t>(i) * rows_per_tile;
        const std::int64_t run = std::min(static_cast<std::int64_t>(behind) * rows_per_tile, rows) - row;
        context_.backend.convert_to_f32(stored_[which].data() + std::uint64_t{batch[i]} * rows_per_tile * row_bytes,
                                        element_type(tensor.dtype), weights.row_range(row, run));
      }
      std::vector<SolvedTile> solved = solve_tiles(context_.backend, recipes_[which], weights, rows_per_tile, &hessian, &factor);
      for (std::size_t i = 0; i < solved.size(); ++i) {
        mine.insert(mine.end(), solved[i].chunk.begin(), solved[i].chunk.end());
        records_.add(context_.sink, indices[first + i], solved[i].digest, std::move(solved[i].chunk), solved[i].loss,
                     solved[i].energy);
      }
    }
    stored_[which] = {};

    Linear packed = take_packed_linear(context_, linear, record, hessian.processing, before, mine);
    keep(which, std::move(packed), std::move(record));
  }

  MatrixView room_for_weights(std::int64_t rows, std::int64_t columns) {
    const auto count = static_cast<std::size_t>(rows * columns);
    if (weights_.size() < count) {
      weights_ = {};
      weights_ = kernels::AlignedBuffer<float>(count, context_.backend.memory());
    }
    return {weights_.data(), rows, columns};
  }

  CalibratedBlock finish() {
    context_.sink.wait_until_stored();
    const std::vector<PieceRecords::Piece> pieces = records_.gather(context_.gang, index_, "block");
    CalibratedBlock result;
    std::uint64_t next = 0;
    for (const BlockVector& vector : vectors_)
      result.tensors.push_back(tunes() ? norm_record(context_.source, vector.tensor, pieces.at(next++))
                                       : raw_record(context_.source, vector.tensor, pieces, next));
    std::map<std::size_t, std::vector<LinearLoss>> losses;
    for (const std::size_t which : solved_order_)
      take_tiles(linears_[which], pieces, next, packed_records_[which], losses[which]);
    for (std::size_t i = 0; i < linears_.size(); ++i) {
      result.tensors.push_back(std::move(packed_records_[i]));
      result.losses.push_back(losses[i].at(0));
    }
    return result;
  }

  GangContext context_;
  QuantizeSpec recipe_;
  std::uint32_t layer_;
  std::vector<LinearShape> linears_;
  std::vector<QuantizeSpec> recipes_;  // of each linear
  std::vector<BlockVector> vectors_;
  PieceDealer dealer_;
  PieceRecords records_;
  std::uint64_t index_ = 0;
  Block block_;
  std::array<kernels::AlignedBuffer<std::uint8_t>, kBlockLinears> stored_;
  kernels::AlignedBuffer<float> weights_;  // of the tiles being solved
  std::array<TensorRecord, kBlockLinears> packed_records_;
  std::vector<std::size_t> solved_order_;
  // With fine-tuning: what is put at the end, and the codes' losses as they were found.
  struct TileToTune {
    std::size_t linear;
    std::uint32_t tile;
    std::uint64_t index;
    double loss, energy;
  };
  struct NormPiece {
    std::uint64_t index;
    bool own;
  };
  std::vector<TileToTune> tiles_to_tune_;
  std::vector<NormPiece> norm_pieces_;
};

}  // namespace

KeptFile tuning_file(const GangContext& context, std::uint32_t layer) {
  if (context.scratch.empty()) return {{}, {}};
  return {context.scratch / ("tuning-block-" + std::to_string(layer)),
          Hasher().update(context.scratch_key.span()).update_u64(layer).finish()};
}

CalibratedBlock quantize_calibrated_block(const GangContext& context, const QuantizeSpec& recipe,
                                          std::uint32_t layer, const kernels::RopeTable& rope,
                                          std::int64_t length, std::int64_t total_tokens, MatrixView hidden,
                                          const std::function<void(const std::string&)>& on_step) {
  return in_context("block " + std::to_string(layer), [&] {
    if (recipe.method == Method::awq)
      return quantize_scaled_block(context, recipe, layer, rope, length, total_tokens, hidden, on_step);
    if (recipe.method == Method::int8) return quantize_static_block(context, recipe, layer, rope, length, hidden, on_step);
    CalibratedPass pass(context, recipe, layer);
    return pass.run({context.backend, context.source.config(), rope}, length, total_tokens, hidden, on_step);
  });
}

CalibratedBlock quantize_plain_block(const GangContext& context, const QuantizeSpec& recipe,
                                     std::uint32_t layer) {
  return in_context("block " + std::to_string(layer), [&] {
    const std::vector<LinearShape> linears = block_linears(context.source.config(), layer);
    const std::vector<BlockVector> vectors = block_vectors(context.source.config(), layer);
    PieceDealer dealer(context.gang.rank(), context.gang.world());
    PieceRecords records;
    std::uint64_t index = 0;
    for (const BlockVector& vector : vectors)
      put_raw_pieces(context.source, vector.tensor, dealer, index, records, context.sink);
    for (const LinearShape& linear : linears) {
      if (recipe.method == Method::none) {
        put_raw_pieces(context.source, linear.tensor, dealer, index, records, context.sink);
        continue;
      }
      const std::uint32_t rows_per_tile = tile_rows(linear.outputs, linear.inputs);
      for (std::uint32_t tile = 0; tile < tile_count(linear); ++tile, ++index) {
        if (!dealer.deal()) continue;
        const std::uint32_t rows = rows_of_tile(linear, tile);
        const std::vector<float> weights =
            read_rows(context.source, linear.tensor, std::uint64_t{tile} * rows_per_tile, rows);
        SolvedTile solved = solve_tile(
            context.backend, recipe, ConstMatrixView(weights.data(), rows, linear.inputs), nullptr, nullptr);
        records.add(context.sink, index, std::move(solved.chunk), solved.loss, solved.energy);
      }
    }
    context.sink.wait_until_stored();
    const std::vector<PieceRecords::Piece> pieces = records.gather(context.gang, index, "block");
    CalibratedBlock result;
    std::uint64_t next = 0;
    for (const BlockVector& vector : vectors)
      result.tensors.push_back(raw_record(context.source, vector.tensor, pieces, next));
    for (const LinearShape& linear : linears) {
      if (recipe.method == Method::none) {
        result.tensors.push_back(raw_record(context.source, linear.tensor, pieces, next));
        continue;
      }
      TensorRecord record = packed_record(linear, recipe);
      take_tiles(linear, pieces, next, record, result.losses);
      result.tensors.push_back(std::move(record));
    }
    return result;
  });
}

}  // namespace quench::worker
