// The shards of one artifact as a gang makes them: which rank makes which piece, and how the pieces'
// records come together on rank 0. Every rank walks the same plan in the same order, so the only thing
// exchanged is digests. Compute thread only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cluster/collective/collective.h"
#include "schemas/artifact.h"
#include "worker/model/weights.h"
#include "worker/quantize/shard_sink.h"

namespace quench::worker {

// Numbers a block's pieces in plan order and deals them out in turn.
class PieceDealer {
 public:
  PieceDealer(std::uint32_t rank, std::uint32_t world) : rank_(rank), world_(world) {}
  // True when the next piece is this rank's.
  bool deal() { return next_++ % world_ == rank_; }
  // From here on deals as `rank` does.
  void take_part_of(std::uint32_t rank) { rank_ = rank; }

 private:
  std::uint32_t rank_;
  std::uint32_t world_;
  std::uint64_t next_ = 0;
};

// Collects what this rank made, then brings all ranks' pieces together in plan order.
class PieceRecords {
 public:
  // One finished piece: its chunk and, for a tile, its loss.
  struct Piece {
    ChunkRef chunk;
    double loss = 0;
    double energy = 0;
  };
  // Puts the chunk into the sink and remembers the piece as number `index` of the plan.
  void add(ShardSink& sink, std::uint64_t index, std::vector<std::uint8_t> bytes, double loss = 0,
           double energy = 0);
  // The same for a chunk whose digest is known.
  void add(ShardSink& sink, std::uint64_t index, const Digest& digest, std::vector<std::uint8_t> bytes, double loss,
           double energy);
  // All pieces 0 … count-1, on every rank. Collective. Throws Error(internal) when one is missing.
  std::vector<Piece> gather(cluster::Collective& gang, std::uint64_t count, const std::string& label);

 private:
  std::vector<std::pair<std::uint64_t, Piece>> mine_;
};

// A raw tensor's pieces of kRawChunkBytes: reads, checks and puts this rank's, counting in `index`.
// Throws Error(bad_input) for NaN and Inf.
void put_raw_pieces(const WeightSource& source, const std::string& name, PieceDealer& dealer,
                    std::uint64_t& index, PieceRecords& records, ShardSink& sink);
// The record of the same tensor from the gathered pieces, starting at `next`, which it advances.
TensorRecord raw_record(const WeightSource& source, const std::string& name,
                        const std::vector<PieceRecords::Piece>& pieces, std::uint64_t& next);

}  // namespace quench::worker
