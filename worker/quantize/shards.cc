#include "worker/quantize/shards.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "schemas/error.h"

namespace quench::worker {
namespace {

// What travels between ranks; the same build on both sides.
struct PackedPiece {
  std::uint64_t index;
  std::uint64_t bytes;
  std::uint8_t digest[32];
  double loss;
  double energy;
};

std::uint64_t stored_bytes(const StoredTensor& tensor) {
  return tensor.rows() * tensor.columns() * dtype_bytes(tensor.dtype);
}

}  // namespace

void PieceRecords::add(ShardSink& sink, std::uint64_t index, std::vector<std::uint8_t> bytes, double loss,
                       double energy) {
  const Digest digest = sha256(bytes);
  add(sink, index, digest, std::move(bytes), loss, energy);
}

void PieceRecords::add(ShardSink& sink, std::uint64_t index, const Digest& digest, std::vector<std::uint8_t> bytes, double loss,
                       double energy) {
  mine_.emplace_back(index, Piece{{digest, bytes.size()}, loss, energy});
  sink.put_chunk(digest, std::move(bytes));
}

std::vector<PieceRecords::Piece> PieceRecords::gather(cluster::Collective& gang, std::uint64_t count,
                                                      const std::string& label) {
  std::vector<PackedPiece> packed;
  for (const auto& [index, piece] : mine_) {
    PackedPiece& out = packed.emplace_back();
    out = PackedPiece{index, piece.chunk.bytes, {}, piece.loss, piece.energy};
    std::memcpy(out.digest, piece.chunk.digest.bytes.data(), sizeof out.digest);
  }
  mine_.clear();
  const auto* raw = reinterpret_cast<const std::uint8_t*>(packed.data());
  const std::vector<Bytes> all =
      gang.all_gather_bytes({raw, packed.size() * sizeof(PackedPiece)}, "pieces " + label);

  std::vector<std::optional<Piece>> found(count);
  for (const Bytes& bytes : all) {
    QUENCH_CHECK(bytes.size() % sizeof(PackedPiece) == 0, bytes.size());
    for (std::size_t at = 0; at < bytes.size(); at += sizeof(PackedPiece)) {
      PackedPiece in;
      std::memcpy(&in, bytes.data() + at, sizeof in);
      QUENCH_CHECK(in.index < count, in.index, count);
      found[in.index] = Piece{{Digest::from_bytes(in.digest), in.bytes}, in.loss, in.energy};
    }
  }
  std::vector<Piece> pieces;
  for (std::uint64_t index = 0; index < count; ++index) {
    if (!found[index])
      throw Error(ErrorCode::internal, label + ": no rank made piece " + std::to_string(index));
    pieces.push_back(*found[index]);
  }
  return pieces;
}

void put_raw_pieces(const WeightSource& source, const std::string& name, PieceDealer& dealer,
                    std::uint64_t& index, PieceRecords& records, ShardSink& sink) {
  const StoredTensor& tensor = source.tensor(name);
  const std::uint64_t total = stored_bytes(tensor);
  const std::uint32_t element = dtype_bytes(tensor.dtype);
  for (std::uint64_t offset = 0; offset < total; offset += kRawChunkBytes, ++index) {
    if (!dealer.deal()) continue;
    std::vector<std::uint8_t> bytes(std::min<std::uint64_t>(kRawChunkBytes, total - offset));
    source.read_bytes(name, offset, bytes);
    check_finite(bytes, tensor.dtype, offset / element, source.place(name));
    records.add(sink, index, std::move(bytes));
  }
}

TensorRecord raw_record(const WeightSource& source, const std::string& name,
                        const std::vector<PieceRecords::Piece>& pieces, std::uint64_t& next) {
  const StoredTensor& tensor = source.tensor(name);
  TensorRecord record;
  record.name = name;
  record.layout = TensorLayout::raw;
  record.dtype = tensor.dtype;
  record.shape = tensor.shape;
  for (std::uint64_t offset = 0; offset < stored_bytes(tensor); offset += kRawChunkBytes)
    record.chunks.push_back(pieces.at(next++).chunk);
  return record;
}

}  // namespace quench::worker
