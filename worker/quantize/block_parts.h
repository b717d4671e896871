// What every way of quantizing a block shares: how a linear is cut into tiles, read by the gang and recorded.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "schemas/artifact.h"
#include "schemas/model_config.h"
#include "worker/model/linear.h"
#include "worker/quantize/block_pipeline.h"
#include "worker/quantize/shards.h"

namespace quench::worker {

// The linear's record, its chunks still missing.
TensorRecord packed_record(const LinearShape& linear, const QuantizeSpec& recipe);
// Appends the linear's chunks and loss from the gathered pieces, of which `next` is its first; advances it.
void take_tiles(const LinearShape& linear, const std::vector<PieceRecords::Piece>& pieces, std::uint64_t& next,
                TensorRecord& record, std::vector<LinearLoss>& losses);
// Every rank's tiles, `mine` being this one's one after another, into the whole quantized linear, with which every rank
// forwards. `before` is the dealer before the linear's first tile; `tile_bytes` is asked with a tile's rows. Collective.
void take_all_tiles(const GangContext& context, const LinearShape& linear, const PieceDealer& before,
                    std::span<const std::uint8_t> mine, Linear& whole,
                    const std::function<std::uint64_t(std::uint32_t rows)>& tile_bytes);
// The same for a packed linear, as `record` says; `processing` is its column order, or empty.
Linear take_packed_linear(const GangContext& context, const LinearShape& linear, const TensorRecord& record,
                          std::vector<std::int32_t> processing, const PieceDealer& before,
                          std::span<const std::uint8_t> mine);
// A norm that the method changed: one piece of fp32, and its record.
void put_norm(PieceRecords& records, ShardSink& sink, std::uint64_t index, std::span<const float> norm);
TensorRecord norm_record(const WeightSource& source, const std::string& name, const PieceRecords::Piece& piece);
// The weights of one linear on every rank, as stored and checked to be finite: each rank reads its share of the rows from
// disk and the gang brings them together, so a block crosses the file system once. Collective.
kernels::AlignedBuffer<std::uint8_t> read_shared(const GangContext& context, const LinearShape& linear);
inline std::span<const std::uint8_t> bytes_of(const kernels::AlignedBuffer<std::uint8_t>& buffer) {
  return {buffer.data(), buffer.size()};
}
// "q,k,v".
std::string stage_names(const std::vector<LinearShape>& linears, std::uint32_t stage);

}  // namespace quench::worker
