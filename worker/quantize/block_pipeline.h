// One transformer block through a calibrated method, by the whole gang: stage by stage, the inputs of
// its linears → exact Hessian → shared factor → every rank solves its row tiles → the packed tiles are
// all-gathered and replace the linear, so that the next stage sees it quantized (true-sequential).
// Compute thread only; every rank calls together.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cluster/collective/collective.h"
#include "kernels/backend.h"
#include "schemas/job_spec.h"
#include "worker/model/block_forward.h"
#include "worker/model/weights.h"
#include "worker/quantize/aqlm/kept_file.h"
#include "worker/quantize/shards.h"

namespace quench::worker {

struct PricedModel;

// What does not change from block to block. Refers to objects of the caller.
struct GangContext {
  kernels::Backend& backend;
  cluster::Collective& gang;
  const WeightSource& source;
  ShardSink& sink;
  std::span<const BitChoice> choices = {};  // of every linear, for a recipe with a budget
  PricedModel* priced = nullptr;  // of the job's last recipe with a budget, kept for the next; may be null
  // Where the state of a block's fine-tuning is kept, and what names job, artifact and calibration; empty: nowhere.
  std::filesystem::path scratch = {};
  Digest scratch_key = {};
};

struct CalibratedBlock {
  std::vector<TensorRecord> tensors;  // norms, then linears in block_linears order; the same on all ranks
  std::vector<LinearLoss> losses;
};

// `hidden` [own tokens, hidden_size], sequence after sequence of `length` tokens: the block's input, and
// its output afterwards. `total_tokens` counts all ranks'. `on_step` is told "hessian q,k,v", ….
CalibratedBlock quantize_calibrated_block(const GangContext& context, const QuantizeSpec& recipe,
                                          std::uint32_t layer, const kernels::RopeTable& rope,
                                          std::int64_t length, std::int64_t total_tokens,
                                          kernels::MatrixView hidden,
                                          const std::function<void(const std::string&)>& on_step);

// Of block `layer`, to be removed once the block is committed.
KeptFile tuning_file(const GangContext& context, std::uint32_t layer);

// A block for methods without calibration: no forward; every rank reads only the rows it quantizes, or
// (method none) the bytes it copies.
CalibratedBlock quantize_plain_block(const GangContext& context, const QuantizeSpec& recipe,
                                     std::uint32_t layer);

}  // namespace quench::worker
