#include "worker/quantize/held_blocks.h"

#include <chrono>
#include <cstdio>
#include <cstring>
#include <variant>

#include "schemas/codec.h"
#include "schemas/error.h"
#include "worker/quantize/aqlm/end_to_end.h"

namespace quench::worker {
namespace {

bool has_chunks(const BlockDone& block, const ChunkReader& read_chunk) {
  try {
    for (const TensorRecord& tensor : block.tensors)
      for (const ChunkRef& chunk : tensor.chunks) read_chunk(chunk);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::corrupt) throw;  // a missing chunk is
    return false;
  }
  return true;
}

// The block's records with what was tuned in place of what was held. Every rank has all of it, so each puts its share and
// all know the digests.
std::vector<TensorRecord> put_tuned(const GangContext& context, const TrainedBlock& trained, const BlockDone& held) {
  const ModelConfig& config = context.source.config();
  PieceDealer dealer(context.gang.rank(), context.gang.world());
  const auto put = [&](std::vector<std::uint8_t> bytes) {
    const ChunkRef chunk{sha256(bytes), bytes.size()};
    if (dealer.deal()) context.sink.put_chunk(chunk.digest, std::move(bytes));
    return chunk;
  };
  std::vector<TensorRecord> records = held.tensors;
  const std::vector<BlockVector> vectors = block_vectors(config, held.block);
  const std::vector<LinearShape> linears = block_linears(config, held.block);
  QUENCH_CHECK(records.size() == vectors.size() + linears.size(), records.size(), held.block);
  for (std::size_t n = 0; n < vectors.size(); ++n) {
    const std::span<const float> norm = trained.norm(n);
    std::vector<std::uint8_t> bytes(norm.size_bytes());
    std::memcpy(bytes.data(), norm.data(), bytes.size());
    records[n].chunks = {put(std::move(bytes))};
  }
  for (std::size_t i = 0; i < linears.size(); ++i) {
    TensorRecord& record = records[vectors.size() + i];
    record.chunks = {put(trained.codebooks(i))};
    const std::uint32_t rows_per_tile = tile_rows(linears[i].outputs, linears[i].inputs);
    for (std::uint32_t tile = 0; tile < tile_count(linears[i]); ++tile)
      record.chunks.push_back(put(trained.tile(i, std::int64_t{tile} * rows_per_tile, rows_of_tile(linears[i], tile))));
  }
  return records;
}

}  // namespace

HeldBlocks::HeldBlocks(const GangContext& context, std::uint32_t layers, ChunkReader read_chunk)
    : context_(context), layers_(layers), read_chunk_(std::move(read_chunk)) {
  while (count() < layers_) {
    const std::optional<std::vector<std::uint8_t>> kept = file_of(count()).load(context_.gang);
    if (!kept) break;
    BlockDone block = std::get<BlockDone>(decode_message(*kept));
    std::int32_t lost = context_.gang.rank() == 0 && !has_chunks(block, read_chunk_) ? 1 : 0;
    context_.gang.all_reduce_max(std::span(&lost, 1), "lost chunks of held blocks");
    if (lost != 0) break;
    blocks_.push_back(std::move(block));
  }
}

KeptFile HeldBlocks::file(const std::string& name) const {
  return {context_.scratch / name, Hasher().update(context_.scratch_key.span()).update(name).finish()};
}

std::vector<TensorRecord> HeldBlocks::tensors() const {
  std::vector<TensorRecord> all;
  for (const BlockDone& block : blocks_) all.insert(all.end(), block.tensors.begin(), block.tensors.end());
  return all;
}

void HeldBlocks::add(BlockDone block) {
  QUENCH_CHECK(block.block == count(), block.block, count());
  file_of(block.block).save(context_.gang, encode(Message(block)));
  blocks_.push_back(std::move(block));
}

void HeldBlocks::tune_and_commit(const QuantizeSpec& recipe, const CalibrationSet& calibration, std::uint32_t first,
                                 const std::function<void(const std::string&)>& on_step) {
  QUENCH_CHECK(count() == layers_, count(), layers_);
  const auto started = std::chrono::steady_clock::now();
  const ModelConfig& config = context_.source.config();
  const kernels::RopeTable rope = kernels::rope_table(config.head_dim, config.rope_theta, config.rope_linear_factor, calibration.length);
  // The chunks of all ranks are stored before any rank reads them.
  context_.gang.barrier("held blocks");
  const std::unique_ptr<WeightSource> held = open_tensor_records(config, tensors(), read_chunk_);
  std::vector<Block> blocks;
  for (std::uint32_t layer = 0; layer < layers_; ++layer) blocks.push_back(load_block(*held, layer));
  on_step("end to end: forward of the original model");
  TunedModel model(context_, rope, calibration, std::move(blocks));
  const KeptFile state = file("tuning-model");
  const TuningResult result =
      tune_model(context_, recipe, state, static_cast<std::uint32_t>(calibration.sequences.size()), model, on_step);
  const bool speaks = context_.gang.rank() == 0;
  if (speaks) {
    if (result.kept_epochs > 0)
      context_.sink.log("fine-tuning end to end: went on after epoch " + std::to_string(result.kept_epochs) + " of before the interruption");
    char text[128];
    std::snprintf(text, sizeof text, "fine-tuning end to end: validation divergence %.4g -> %.4g in %u epochs", result.error_before,
                  result.error_after, result.epochs);
    context_.sink.log(text);
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - started;
  for (std::uint32_t layer = first; layer < layers_; ++layer) {
    BlockDone done = blocks_[layer];
    done.tensors = put_tuned(context_, model.block(layer), done);
    done.seconds += seconds.count() / layers_;
    context_.sink.wait_until_stored();
    context_.gang.barrier("tuned block");
    if (speaks) context_.sink.commit_block(done);
  }
  if (!speaks) return;
  for (std::uint32_t layer = 0; layer < layers_; ++layer) file_of(layer).remove();
  state.remove();
}

}  // namespace quench::worker
