// An artifact that is tuned end to end: its blocks are held back until the whole model is tuned, and only then committed.
// What is held lies in the scratch directory, so that a resuming gang goes on where the last one ended, before, inside or
// behind the tuning; whatever is lost there is made again with the same bits. Compute thread; every rank calls together.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "schemas/messages.h"
#include "worker/quantize/block_pipeline.h"
#include "worker/quantize/calibration.h"

namespace quench::worker {

class HeldBlocks {
 public:
  // Finds what an interrupted gang has held. `context.scratch` and its key are the artifact's. Chunks that no commit refers to
  // may die with the coordinator: a block that has lost one is not held, nor are those behind it.
  HeldBlocks(const GangContext& context, std::uint32_t layers, ChunkReader read_chunk);

  std::uint32_t count() const { return static_cast<std::uint32_t>(blocks_.size()); }
  std::vector<TensorRecord> tensors() const;
  // The block behind the last one.
  void add(BlockDone block);

  // Once all are held: tunes the model, commits the blocks from `first` on (those before were), and forgets what was held.
  void tune_and_commit(const QuantizeSpec& recipe, const CalibrationSet& calibration, std::uint32_t first,
                       const std::function<void(const std::string&)>& on_step);

 private:
  KeptFile file(const std::string& name) const;
  KeptFile file_of(std::size_t layer) const { return file("held-block-" + std::to_string(layer)); }

  const GangContext& context_;
  std::uint32_t layers_;
  ChunkReader read_chunk_;
  std::vector<BlockDone> blocks_;
};

}  // namespace quench::worker
