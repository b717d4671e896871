#include "worker/quantize/block_parts.h"

#include <algorithm>
#include <cstring>

#include "schemas/error.h"
#include "schemas/packed_layout.h"
#include "worker/quantize/methods.h"

namespace quench::worker {

TensorRecord packed_record(const LinearShape& linear, const QuantizeSpec& recipe) {
  TensorRecord record;
  record.name = linear.tensor;
  record.layout = TensorLayout::packed;
  record.shape = {linear.outputs, linear.inputs};
  record.rows_per_tile = tile_rows(linear.outputs, linear.inputs);
  if (recipe.method == Method::aqlm) {
    record.layout = TensorLayout::additive;
    record.bits = recipe.codebook_bits;
    record.group_size = recipe.group_size;
    record.codebooks = recipe.codebooks;
    return record;
  }
  const kernels::GridSpec grid = grid_of(recipe);
  record.bits = static_cast<std::uint32_t>(grid.bits);
  record.group_size = static_cast<std::int32_t>(grid.group_size);
  record.activations = recipe.activations;
  if (record.activations != Activations::none && linear.inputs > kIntegerInputsMax)
    throw Error(ErrorCode::bad_input, "tensor \"" + linear.tensor + "\" has " + std::to_string(linear.inputs) +
                                          " inputs; integer activations are for at most " + std::to_string(kIntegerInputsMax) +
                                          ": choose \"activations\": \"none\"");
  return record;
}

// Appends the linear's chunks and loss from the gathered pieces.
void take_tiles(const LinearShape& linear, const std::vector<PieceRecords::Piece>& pieces,
                std::uint64_t& next, TensorRecord& record, std::vector<LinearLoss>& losses) {
  double loss = 0, energy = 0;
  for (std::uint32_t tile = 0; tile < tile_count(linear); ++tile) {
    const PieceRecords::Piece& piece = pieces.at(next++);
    record.chunks.push_back(piece.chunk);
    loss += piece.loss;
    energy += piece.energy;
  }
  losses.push_back({linear.tensor, loss, energy > 0 ? loss / energy : 0});
}

void take_all_tiles(const GangContext& context, const LinearShape& linear, const PieceDealer& before,
                    std::span<const std::uint8_t> mine, Linear& whole,
                    const std::function<std::uint64_t(std::uint32_t rows)>& tile_bytes) {
  const std::uint32_t world = context.gang.world();
  const std::vector<Bytes> gathered =
      world > 1 ? context.gang.all_gather_bytes(mine, "tiles " + linear.short_name) : std::vector<Bytes>();
  std::vector<Linear::TileChunk> tiles;
  for (std::uint32_t rank = 0; rank < world; ++rank) {
    const std::span<const std::uint8_t> from = world > 1 ? std::span<const std::uint8_t>(gathered[rank]) : mine;
    PieceDealer replay = before;
    replay.take_part_of(rank);
    std::size_t offset = 0;
    for (std::uint32_t tile = 0; tile < tile_count(linear); ++tile) {
      if (!replay.deal()) continue;
      const std::uint64_t bytes = tile_bytes(rows_of_tile(linear, tile));
      QUENCH_CHECK(offset + bytes <= from.size(), offset, bytes, from.size());
      tiles.push_back({tile, from.subspan(offset, bytes)});
      offset += bytes;
    }
  }
  whole.set_tiles(context.backend, tiles);
}

Linear take_packed_linear(const GangContext& context, const LinearShape& linear, const TensorRecord& record,
                          std::vector<std::int32_t> processing, const PieceDealer& before,
                          std::span<const std::uint8_t> mine) {
  Linear packed = Linear::packed(linear.outputs, linear.inputs, static_cast<int>(record.bits), record.group_size,
                                 record.rows_per_tile, std::move(processing), context.backend.memory(),
                                 {record.activations, static_cast<float>(record.activation_scale)});
  take_all_tiles(context, linear, before, mine, packed, [&](std::uint32_t rows) {
    return PackedTileShape{rows, linear.inputs, record.bits, record.group_size}.bytes();
  });
  return packed;
}

void put_norm(PieceRecords& records, ShardSink& sink, std::uint64_t index, std::span<const float> norm) {
  std::vector<std::uint8_t> bytes(norm.size_bytes());
  std::memcpy(bytes.data(), norm.data(), bytes.size());
  records.add(sink, index, std::move(bytes));
}

TensorRecord norm_record(const WeightSource& source, const std::string& name, const PieceRecords::Piece& piece) {
  TensorRecord record;
  record.name = name;
  record.shape = source.tensor(name).shape;
  record.chunks = {piece.chunk};
  return record;
}

// The weights of one linear on every rank, as stored: each rank reads its share of the rows from disk
// and the gang brings them together, so a block crosses the file system once.
kernels::AlignedBuffer<std::uint8_t> read_shared(const GangContext& context, const LinearShape& linear) {
  const StoredTensor& tensor = context.source.tensor(linear.tensor);
  const std::uint64_t element = dtype_bytes(tensor.dtype);
  const std::uint64_t row_bytes = linear.inputs * element;
  const std::uint32_t world = context.gang.world();
  std::vector<std::size_t> counts(world);
  std::uint64_t begin_row = 0;
  for (std::uint32_t rank = 0; rank < world; ++rank) {
    const std::uint64_t first = std::uint64_t{linear.outputs} * rank / world;
    const std::uint64_t last = std::uint64_t{linear.outputs} * (rank + 1) / world;
    counts[rank] = (last - first) * row_bytes;
    if (rank == context.gang.rank()) begin_row = first;
  }
  kernels::AlignedBuffer<std::uint8_t> all(linear.outputs * row_bytes);
  const std::span whole(all.data(), all.size());
  const std::span mine = whole.subspan(begin_row * row_bytes, counts[context.gang.rank()]);
  // In parts of some megabytes, so that several are read and looked through at once.
  constexpr std::uint64_t part_bytes = 4 << 20;
  const auto parts = static_cast<std::int64_t>((mine.size() + part_bytes - 1) / part_bytes);
  context.backend.on_host_threads(parts, [&](std::int64_t part) {
    const std::uint64_t offset = static_cast<std::uint64_t>(part) * part_bytes;
    const std::span bytes = mine.subspan(offset, std::min<std::uint64_t>(part_bytes, mine.size() - offset));
    context.source.read_bytes(linear.tensor, begin_row * row_bytes + offset, bytes);
    check_finite(bytes, tensor.dtype, begin_row * linear.inputs + offset / element, context.source.place(linear.tensor));
  });
  if (world > 1) context.gang.all_gather(mine, counts, whole, "weights " + linear.short_name);
  return all;
}

std::string stage_names(const std::vector<LinearShape>& linears, std::uint32_t stage) {
  std::string names;
  for (const LinearShape& linear : linears)
    if (linear.stage == stage) names += (names.empty() ? "" : ",") + linear.short_name;
  return names;
}

}  // namespace quench::worker
