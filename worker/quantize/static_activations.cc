#include "worker/quantize/static_activations.h"

#include <algorithm>
#include <array>
#include <bit>

#include "schemas/error.h"
#include "worker/quantize/block_parts.h"
#include "worker/quantize/methods.h"

namespace quench::worker {
namespace {

using kernels::ConstMatrixView;
using kernels::MatrixView;

constexpr float kSteps = 127;  // on either side of 0
constexpr std::int32_t kInfinity = 0x7f800000;

// The largest magnitude of all ranks' inputs over kSteps. Floats that are not negative are ordered as their bits are.
float common_scale(const GangContext& context, ConstMatrixView input, const std::string& names) {
  kernels::to_host(context.backend.memory(), input);
  std::int32_t largest = 0;
  for (std::int64_t row = 0; row < input.rows; ++row)
    for (std::int64_t column = 0; column < input.cols; ++column)
      largest = std::max(largest, std::bit_cast<std::int32_t>(input.row(row)[column]) & 0x7fffffff);
  context.gang.all_reduce_max(std::span(&largest, 1), "largest input " + names);
  if (largest >= kInfinity)
    throw Error(ErrorCode::bad_input, names + ": an input is not finite on the calibration text: the model overflows");
  const float scale = std::bit_cast<float>(largest) / kSteps;
  return scale > 0 ? scale : 1;  // nothing but zeros
}

// This rank's tiles of one linear, rounded; `index` counts all ranks'. Gives them one after another.
std::vector<std::uint8_t> round_tiles(const GangContext& context, const QuantizeSpec& recipe, const LinearShape& linear,
                                      std::span<const std::uint8_t> stored, PieceDealer& dealer, std::uint64_t& index,
                                      PieceRecords& records) {
  const kernels::ElementType type = element_type(context.source.tensor(linear.tensor).dtype);
  const std::uint32_t rows_per_tile = tile_rows(linear.outputs, linear.inputs);
  const std::size_t row_bytes = linear.inputs * kernels::element_bytes(type);
  std::vector<float> weights(std::size_t{rows_per_tile} * linear.inputs);
  std::vector<std::uint8_t> mine;
  for (std::uint32_t tile = 0; tile < tile_count(linear); ++tile, ++index) {
    if (!dealer.deal()) continue;
    const std::uint32_t rows = rows_of_tile(linear, tile);
    kernels::convert_to_f32(stored.data() + std::size_t{tile} * rows_per_tile * row_bytes, type,
                            std::size_t{rows} * linear.inputs, weights.data());
    SolvedTile solved =
        solve_tile(context.backend, recipe, ConstMatrixView(weights.data(), rows, linear.inputs), nullptr, nullptr);
    mine.insert(mine.end(), solved.chunk.begin(), solved.chunk.end());
    records.add(context.sink, index, std::move(solved.chunk), solved.loss, solved.energy);
  }
  return mine;
}

}  // namespace

CalibratedBlock quantize_static_block(const GangContext& context, const QuantizeSpec& recipe, std::uint32_t layer,
                                      const kernels::RopeTable& rope, std::int64_t length, MatrixView hidden,
                                      const std::function<void(const std::string&)>& on_step) {
  const ModelConfig& config = context.source.config();
  const std::vector<LinearShape> linears = block_linears(config, layer);
  const std::vector<BlockVector> vectors = block_vectors(config, layer);
  PieceDealer dealer(context.gang.rank(), context.gang.world());
  PieceRecords pieces_of_all;
  std::uint64_t index = 0;
  for (const BlockVector& vector : vectors)
    put_raw_pieces(context.source, vector.tensor, dealer, index, pieces_of_all, context.sink);
  Block block;
  load_vectors(context.source, layer, block);
  std::vector<kernels::AlignedBuffer<std::uint8_t>> stored;
  for (const LinearShape& linear : linears) {
    stored.push_back(read_shared(context, linear));
    block.linears[linear.role] = Linear::dense(bytes_of(stored.back()), element_type(context.source.tensor(linear.tensor).dtype),
                                               linear.outputs, linear.inputs, context.backend.memory());
  }
  const std::vector<std::int64_t> lengths(static_cast<std::size_t>(hidden.rows / length), length);
  BlockForward forward({context.backend, config, rope}, block, lengths, hidden);
  std::vector<TensorRecord> packed;
  for (std::uint32_t stage = 0; stage < kBlockStages; ++stage) {
    const std::string names = stage_names(linears, stage);
    on_step("forward to " + names);
    const float scale = common_scale(context, forward.stage_input(stage), names);
    on_step("round " + names);
    for (std::size_t i = 0; i < linears.size(); ++i) {
      if (linears[i].stage != stage) continue;
      TensorRecord record = packed_record(linears[i], recipe);
      record.activation_scale = scale;
      const PieceDealer before = dealer;
      const std::vector<std::uint8_t> mine =
          round_tiles(context, recipe, linears[i], bytes_of(stored[i]), dealer, index, pieces_of_all);
      stored[i] = {};
      block.linears[linears[i].role] = take_packed_linear(context, linears[i], record, {}, before, mine);
      packed.push_back(std::move(record));
    }
  }
  on_step("forward");
  forward.finish();

  context.sink.wait_until_stored();
  const std::vector<PieceRecords::Piece> pieces = pieces_of_all.gather(context.gang, index, "block");
  CalibratedBlock result;
  std::uint64_t next = 0;
  for (const BlockVector& vector : vectors) result.tensors.push_back(raw_record(context.source, vector.tensor, pieces, next));
  // Stages follow the order of the linears.
  for (std::size_t i = 0; i < linears.size(); ++i) {
    take_tiles(linears[i], pieces, next, packed[i], result.losses);
    result.tensors.push_back(std::move(packed[i]));
  }
  return result;
}

}  // namespace quench::worker
