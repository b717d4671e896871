// A block run stage by stage over whole sequences, for the quantizer: it asks for the inputs of a
// stage's linears (schemas/model_config.h: 0 q,k,v; 1 o; 2 gate,up; 3 down), quantizes them, puts the
// quantized linears into the block, and asks for the next stage. Every step uses the block's linears as they
// are at that moment, so later stages see the earlier ones quantized (true-sequential), and nothing is
// computed twice: the attention runs once, between stages 0 and 1.
//
//   BlockForward forward({backend, config, rope}, block, lengths, hidden);
//   for (std::uint32_t stage = 0; stage < 4; ++stage) {
//     accumulate_hessian(forward.stage_input(stage));
//     ... block.linears[kQ] = quantized; ...
//   }
//   forward.finish();  // hidden is now the block's output
//
// The rows of one sequence do not depend on the other sequences here, bit for bit, so ranks may split
// the sequences as they like. Memory beside `hidden`: the inputs of one stage for all rows, at a change of
// stage of two, and temporaries of a few hundred rows. A caller with less memory runs several
// BlockForwards over parts of its sequences, each stage over all of them before the next.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "worker/model/block.h"

namespace quench::worker {

inline constexpr std::uint32_t kBlockStages = 4;

class BlockForward {
 public:
  // hidden [sum of lengths, hidden_size]: the block's input, sequence after sequence; stays the
  // caller's, is changed between stages 1 and 2 and by finish(). `block` is read at each step and outlives
  // this object. `context.rope` reaches the longest sequence.
  BlockForward(const BlockContext& context, const Block& block, std::span<const std::int64_t> lengths,
               kernels::MatrixView hidden);

  // The inputs of stage `stage`'s linears, [T, inputs]; valid until the next call. Stages never go back;
  // asking for a later one runs those between with the linears as they are.
  kernels::ConstMatrixView stage_input(std::uint32_t stage);
  // Runs what is left; `hidden` becomes the block's output. Call once, last.
  void finish();

 private:
  void advance();
  void run_attention();

  BlockContext context_;
  const Block& block_;
  std::vector<std::int64_t> lengths_;
  kernels::MatrixView hidden_;
  std::uint32_t stage_ = 0;
  ActivationBuffer input_, next_;  // of stage_, and of the stage being computed
  kernels::MatrixView input_view_;
  BlockWorkspace workspace_;
};

}  // namespace quench::worker
