#include "worker/model/block_forward.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "schemas/error.h"

namespace quench::worker {
namespace {

// Rows of temporaries (q, k, v, up, products) held at once; sequences stay whole in the attention.
constexpr std::int64_t kRowsAtOnce = 512;

// Cut within each sequence: a GPU's product may depend on how many rows it has, so that must not depend on which
// sequences a rank holds.
template <typename Body>
void for_row_ranges(const std::vector<std::int64_t>& lengths, Body&& body) {
  std::int64_t first = 0;
  for (const std::int64_t length : lengths) {
    for (std::int64_t begin = 0; begin < length; begin += kRowsAtOnce)
      body(first + begin, std::min(kRowsAtOnce, length - begin));
    first += length;
  }
}

}  // namespace

BlockForward::BlockForward(const BlockContext& context, const Block& block,
                           std::span<const std::int64_t> lengths, kernels::MatrixView hidden)
    : context_(context), block_(block), lengths_(lengths.begin(), lengths.end()), hidden_(hidden) {
  std::int64_t rows = 0;
  for (const std::int64_t length : lengths_) {
    QUENCH_CHECK(length > 0 && length <= context_.rope.positions, length, context_.rope.positions);
    rows += length;
  }
  QUENCH_CHECK(rows == hidden_.rows, rows, hidden_.rows);
  QUENCH_CHECK(std::cmp_equal(hidden_.cols, context_.config.hidden_size), hidden_.cols,
               context_.config.hidden_size);
  input_view_ = input_.matrix(hidden_.rows, hidden_.cols, context_.backend.memory());
  attention_norm(context_, block_, hidden_, input_view_);
}

kernels::ConstMatrixView BlockForward::stage_input(std::uint32_t stage) {
  QUENCH_CHECK(stage_ <= stage && stage < kBlockStages, stage_, stage);
  while (stage_ < stage) advance();
  return input_view_;
}

void BlockForward::finish() {
  QUENCH_CHECK(stage_ < kBlockStages, stage_);
  while (stage_ < kBlockStages) advance();
  input_.release();
  input_view_ = {};
}

void BlockForward::run_attention() {
  const kernels::MatrixView out = next_.matrix(hidden_.rows, std::int64_t{context_.config.heads} * context_.config.head_dim, context_.backend.memory());
  const std::int64_t longest = lengths_.empty() ? 0 : *std::max_element(lengths_.begin(), lengths_.end());
  kernels::KvCache cache(context_.config.kv_heads, context_.config.head_dim, longest,
                         context_.backend.memory());
  std::vector<std::int32_t> positions(static_cast<std::size_t>(longest));
  std::iota(positions.begin(), positions.end(), 0);
  std::int64_t begin = 0;
  for (const std::int64_t length : lengths_) {
    cache.clear();
    const kernels::KvSegment segment{&cache.view(), 0, length};
    attention_output(context_, block_, input_view_.row_range(begin, length),
                     std::span(positions).first(static_cast<std::size_t>(length)), {&segment, 1},
                     out.row_range(begin, length), workspace_);
    begin += length;
  }
  std::swap(input_, next_);
  input_view_ = out;
}

// From the inputs of stage_ to those of the one after it.
void BlockForward::advance() {
  if (stage_ == 0) {
    run_attention();
  } else if (stage_ == 1 || stage_ == 3) {
    const BlockLinear role = stage_ == 1 ? kO : kDown;
    for_row_ranges(lengths_, [&](std::int64_t begin, std::int64_t rows) {
      add_projection(context_, block_, role, input_view_.row_range(begin, rows), hidden_.row_range(begin, rows),
                     workspace_);
    });
    if (stage_ == 1) {
      input_view_ = input_.matrix(hidden_.rows, hidden_.cols, context_.backend.memory());
      mlp_norm(context_, block_, hidden_, input_view_);
    }
  } else {
    const kernels::MatrixView out = next_.matrix(hidden_.rows, context_.config.intermediate_size, context_.backend.memory());
    for_row_ranges(lengths_, [&](std::int64_t begin, std::int64_t rows) {
      mlp_activation(context_, block_, input_view_.row_range(begin, rows), out.row_range(begin, rows),
                     workspace_);
    });
    std::swap(input_, next_);
    input_view_ = out;
  }
  next_.release();
  ++stage_;
}

}  // namespace quench::worker
