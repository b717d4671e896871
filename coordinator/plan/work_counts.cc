#include "coordinator/plan/work_counts.h"

#include <algorithm>
#include <cmath>

#include "schemas/bit_budget.h"
#include "schemas/packed_layout.h"

namespace quench::coordinator {
namespace {

constexpr double kPanel = 64;          // columns of a panel of a triangle (worker/quantize/hessian.h)
constexpr std::uint32_t kLeaf = 512;   // tokens of a leaf
constexpr double kSumBytes = 8, kFloatBytes = 4;
constexpr double kTreeBytesMax = 64 << 10;  // of a broadcast that goes down a tree (peer_collective.cc)
// Solving keeps some 40 bytes for each weight of at most 2^24 that are solved together (methods.h).
constexpr double kSolvedTogether = 16 << 20, kSolvedRowsMax = 1024, kSolveBytes = 40;
constexpr double kRowsAtOnce = 512;  // of a forward's temporaries (block_forward.cc)
constexpr double kProcessBytes = 64e6;  // a rank with its libraries, its buffers for MPI and nothing to do

double shared(double count, double ranks) { return std::ceil(count / ranks); }

double weights_of(const LinearShape& linear) { return static_cast<double>(linear.outputs) * linear.inputs; }

double own_rows(const LinearShape& linear, std::uint32_t ranks) { return rows_of_busiest_rank(linear, ranks); }

struct Calibrated {
  const BlockQuestion& question;
  std::vector<LinearShape> linears;
  double own_sequences, own_tokens;

  double attention_width() const { return double{1} * question.config.heads * question.config.head_dim; }

  double forward_flops() const {
    double flops = 0;
    for (const LinearShape& linear : linears) flops += 2 * own_tokens * weights_of(linear);
    return flops + 4 * own_tokens * (question.length + 1) / 2.0 * attention_width();
  }

  StageCounts stage(std::uint32_t which) const {
    StageCounts counts;
    counts.stage = which;
    for (const LinearShape& linear : linears) {
      if (linear.stage != which) continue;
      counts.columns = linear.inputs;
      if (question.recipe.method == Method::gptq)
        counts.solve_flops += 3 * own_rows(linear, question.ranks) * linear.inputs * linear.inputs;
      if (question.recipe.method != Method::awq) counts.factor_flops = coordinator::factor_flops(linear.inputs, question.ranks);
    }
    const double elements = triangle_elements(counts.columns);
    counts.hessian_flops = 2 * own_tokens * elements;
    // Zeroing the sums and turning them into fp32 passes over them twice more.
    counts.hessian_sums = (own_sequences * std::ceil(double{1} * question.length / kLeaf) + 2) * elements;
    return counts;
  }

  Traffic stage_traffic(const StageCounts& counts) const {
    const std::uint32_t ranks = question.ranks;
    const double elements = triangle_elements(counts.columns), panels = std::ceil(counts.columns / kPanel);
    Traffic traffic;
    const Traffic exponents = all_gather_traffic(counts.columns * kFloatBytes, ranks);  // of a maximum: there and back
    traffic += exponents;
    traffic += exponents;
    traffic += all_gather_traffic(elements * kSumBytes, ranks);  // the reduce-scatter
    if (question.recipe.act_order)
      traffic += all_gather_traffic(elements * kSumBytes, ranks);  // and back: every rank takes all sums
    for (double panel = 0; panel < panels; ++panel) {
      const Traffic whole = broadcast_traffic((counts.columns - panel * kPanel) * kPanel * kFloatBytes, ranks);
      const Traffic small = broadcast_traffic(kPanel * kFloatBytes, ranks);
      if (!question.recipe.act_order) traffic += whole;  // the Hessian's
      if (question.recipe.method == Method::awq) continue;
      traffic += whole;  // the factor's, its status and its pivots
      traffic += small;
      traffic += small;
    }
    return traffic;
  }

  // The most that a stage holds, with what is left of the linears.
  double stage_memory(std::uint32_t which) const {
    const double hidden = own_tokens * question.config.hidden_size * kFloatBytes;
    double weights = 0, columns = 0, rows_max = 0;
    for (const LinearShape& linear : linears) {
      // As stored and as laid out for products until it is solved; both stay in memory together.
      weights += linear.stage < which ? static_cast<double>(packed_linear_bytes(linear, question.recipe))
                                      : 2 * weights_of(linear) * question.stored_bytes_per_weight;
      if (linear.stage != which) continue;
      columns = linear.inputs;
      rows_max = std::max(rows_max, own_rows(linear, question.ranks));
    }
    const double triangle = triangle_elements(columns);
    const double input = own_tokens * columns * kFloatBytes;
    const double summing = triangle * (kSumBytes + kFloatBytes) + kRowsAtOnce * columns * kFloatBytes;
    const double together = std::min({rows_max, kSolvedRowsMax, std::max(1.0, kSolvedTogether / columns)}) * columns;
    const double solving = triangle * 2 * kFloatBytes + together * kSolveBytes;
    return weights + hidden + input + std::max(summing, solving);
  }

  // From the inputs of gate and up to those of down: both lie in memory.
  double widening_memory() const {
    double weights = 0;
    for (const LinearShape& linear : linears)
      weights += linear.stage < 3 ? static_cast<double>(packed_linear_bytes(linear, question.recipe))
                                  : 2 * weights_of(linear) * question.stored_bytes_per_weight;
    return weights + own_tokens * kFloatBytes * (2.0 * question.config.hidden_size + question.config.intermediate_size) +
           kRowsAtOnce * question.config.intermediate_size * kFloatBytes;
  }
};

}  // namespace

Traffic& Traffic::operator+=(const Traffic& other) {
  messages += other.messages;
  bytes += other.bytes;
  return *this;
}

double triangle_elements(double columns) {
  double elements = 0;
  for (double first = 0; first < columns; first += kPanel) elements += (columns - first) * kPanel;
  return elements;
}

double factor_flops(std::uint32_t columns, std::uint32_t ranks) {
  std::vector<double> updates(ranks, 0.0);
  double own = 0;
  std::uint32_t panel = 0;
  for (double first = 0; first < columns; first += kPanel, ++panel) {
    const double rows = columns - first;
    own += rows * kPanel * kPanel;  // the owner's, while the others wait
    updates[panel % ranks] += 2 * panel * rows * kPanel * kPanel;
  }
  return own + *std::max_element(updates.begin(), updates.end());
}

Traffic broadcast_traffic(double bytes, std::uint32_t ranks) {
  if (ranks == 1) return {};
  if (bytes <= kTreeBytesMax || ranks == 2) {
    const double depth = std::ceil(std::log2(ranks));
    return {depth, depth * bytes};
  }
  const double share = (ranks - 1.0) / ranks;
  return {2.0 * (ranks - 1), 2 * share * bytes};  // pieces from the root, then around the ring
}

Traffic all_gather_traffic(double bytes_together, std::uint32_t ranks) {
  if (ranks == 1) return {};
  return {ranks - 1.0, bytes_together * (ranks - 1.0) / ranks};
}

BlockCounts count_block(const BlockQuestion& question) {
  const std::uint32_t ranks = question.ranks;
  const QuantizeSpec& recipe = question.recipe;
  BlockCounts counts;
  const std::vector<LinearShape> linears = block_linears(question.config, 0);
  double weights = 0;
  for (const LinearShape& linear : linears) {
    weights += weights_of(linear);
    counts.chunk_bytes += recipe.method == Method::none ? weights_of(linear) * question.stored_bytes_per_weight
                                                        : static_cast<double>(packed_linear_bytes(linear, recipe));
  }
  counts.read_bytes = weights * question.stored_bytes_per_weight / ranks;
  // Digests and losses of the pieces: sizes, then the pieces.
  for (int i = 0; i < 2; ++i) counts.traffic += all_gather_traffic(64.0 * ranks, ranks);

  if (!needs_calibration(recipe)) {
    double rows_max = 0;
    for (const LinearShape& linear : linears) {
      const double own = own_rows(linear, ranks) * linear.inputs;
      if (recipe.method != Method::none) counts.rounded_weights += own;
      rows_max = std::max(rows_max, static_cast<double>(tile_rows(linear.outputs, linear.inputs)) * linear.inputs);
    }
    counts.memory_bytes = kProcessBytes + rows_max * kSolveBytes / 2;
    return counts;
  }

  const double own_sequences = shared(question.sequences, ranks);
  const Calibrated calibrated{question, linears, own_sequences, own_sequences * question.length};
  // awq: once as it was, for all Hessians, and once quantized.
  counts.forward_flops = calibrated.forward_flops() * (recipe.method == Method::awq ? 2 : 1);
  counts.scratch_bytes = calibrated.own_tokens * question.config.hidden_size * kFloatBytes;
  counts.memory_bytes = calibrated.widening_memory();
  // int8 looks for the largest activation only.
  const std::uint32_t summed_stages = recipe.method == Method::int8 ? 0 : 4;
  if (recipe.method == Method::int8)
    for (const LinearShape& linear : linears) counts.rounded_weights += own_rows(linear, ranks) * linear.inputs;
  for (std::uint32_t stage = 0; stage < summed_stages; ++stage) {
    counts.stages.push_back(calibrated.stage(stage));
    counts.traffic += calibrated.stage_traffic(counts.stages.back());
    counts.memory_bytes = std::max(counts.memory_bytes, calibrated.stage_memory(stage));
  }
  for (const LinearShape& linear : linears) {
    counts.traffic += all_gather_traffic(weights_of(linear) * question.stored_bytes_per_weight, ranks);
    counts.traffic += all_gather_traffic(8.0 * ranks, ranks);  // sizes, then tiles
    counts.traffic += all_gather_traffic(static_cast<double>(packed_linear_bytes(linear, recipe)), ranks);
  }
  counts.memory_bytes += kProcessBytes;
  double columns_max = 0, weights_max = 0;
  for (const LinearShape& linear : linears) {
    columns_max = std::max(columns_max, double{1} * linear.inputs);
    weights_max = std::max(weights_max, weights_of(linear));
  }
  // H twice as a whole matrix, a second factor and 12 bytes for each weight of this rank's rows; training keeps the block's input and
  // target and its weights twice.
  if (recipe.method == Method::aqlm) counts.memory_bytes += columns_max * columns_max * 10 + weights_max / ranks * 12;
  // The Hessian of the stage before, the block's input, and a sample of rows four times.
  if (recipe.method == Method::awq)
    counts.memory_bytes += triangle_elements(columns_max) * kFloatBytes +
                           calibrated.own_tokens * question.config.hidden_size * kFloatBytes +
                           4 * kSolvedRowsMax * columns_max * kFloatBytes;
  if (recipe.fine_tuning != FineTuning::none)
    counts.memory_bytes += calibrated.own_tokens * question.config.hidden_size * kFloatBytes * 2 + weights * 8;
  // End to end: panels of the head twice, the final states, a batch's inputs of all blocks, and the packed model.
  if (recipe.fine_tuning == FineTuning::end_to_end) {
    const double hidden = question.config.hidden_size, layers = question.config.layers;
    double packed = 0;
    for (const LinearShape& linear : linears) packed += static_cast<double>(packed_linear_bytes(linear, recipe));
    counts.memory_bytes += (2.0 * question.config.vocab_size + calibrated.own_tokens) * hidden * kFloatBytes + packed * layers +
                           (layers + 3) * std::min<double>(recipe.fine_tune_batch, own_sequences) * question.length * hidden * kFloatBytes;
  }
  return counts;
}

}  // namespace quench::coordinator
