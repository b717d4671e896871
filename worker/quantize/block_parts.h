// What every way of quantizing a block shares: how a linear is cut into tiles, read by the gang and recorded.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "schemas/artifact.h"
#include "schemas/model_config.h"
#include "worker/quantize/block_pipeline.h"
#include "worker/quantize/shards.h"

namespace quench::worker {

std::uint32_t tile_count(const LinearShape& linear);
std::uint32_t rows_of_tile(const LinearShape& linear, std::uint32_t tile);
// The linear's record, its chunks still missing.
TensorRecord packed_record(const LinearShape& linear, const QuantizeSpec& recipe);
// Appends the linear's chunks and loss from the gathered pieces, of which `next` is its first; advances it.
void take_tiles(const LinearShape& linear, const std::vector<PieceRecords::Piece>& pieces, std::uint64_t& next,
                TensorRecord& record, std::vector<LinearLoss>& losses);
// The weights of one linear on every rank, as stored and checked to be finite: each rank reads its share of the rows from
// disk and the gang brings them together, so a block crosses the file system once. Collective.
std::vector<std::uint8_t> read_shared(const GangContext& context, const LinearShape& linear);
// "q,k,v".
std::string stage_names(const std::vector<LinearShape>& linears, std::uint32_t stage);

}  // namespace quench::worker
