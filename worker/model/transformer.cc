#include "worker/model/transformer.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "schemas/error.h"

namespace quench::worker {
namespace {

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kFinalNorm = "model.norm.weight";
constexpr const char* kFinalNormBias = "model.norm.bias";
constexpr const char* kHead = "lm_head.weight";
// Positions that the first table of angles holds.
constexpr std::int64_t kFirstPositions = 1024;

void check_token(std::int32_t token, const ModelConfig& config) {
  if (token < 0 || std::cmp_greater_equal(token, config.vocab_size))
    throw Error(ErrorCode::bad_input,
                "token " + std::to_string(token) + " is outside the model's vocabulary of " +
                    std::to_string(config.vocab_size) + "; the tokenizer belongs to another model");
}

}  // namespace

Transformer::Transformer(kernels::Backend& backend, const WeightSource& source, std::int64_t positions_max)
    : backend_(backend), config_(source.config()) {
  positions_max_ = config_.max_positions;
  if (positions_max > 0) positions_max_ = std::min(positions_max_, positions_max);
  const StoredTensor& embedding = source.tensor(kEmbedding);
  embedding_ = read_stored_rows(source, kEmbedding, 0, embedding.rows());
  embedding_type_ = element_type(embedding.dtype);
  for (std::uint32_t layer = 0; layer < config_.layers; ++layer) blocks_.push_back(load_block(source, layer, backend_.memory()));
  final_norm_ = read_tensor(source, kFinalNorm);
  if (config_.layer_norm) final_norm_bias_ = read_tensor(source, kFinalNormBias);
  head_ = config_.tied_head
              ? Linear::dense(embedding_, embedding_type_, config_.vocab_size, config_.hidden_size,
                              backend_.memory())
              : Linear::load(source, kHead, backend_.memory());
}

std::size_t Transformer::weight_bytes() const {
  std::size_t bytes = embedding_.size() + head_.bytes() + (final_norm_.size() + final_norm_bias_.size()) * sizeof(float);
  for (const Block& block : blocks_) bytes += block.bytes();
  return bytes;
}

void Transformer::check_step(const SequenceStep& step) const {
  QUENCH_CHECK(step.cache != nullptr && !step.tokens.empty(), step.tokens.size());
  for (const std::int32_t token : step.tokens) check_token(token, config_);
  const std::int64_t end = step.cache->length() + static_cast<std::int64_t>(step.tokens.size());
  if (end > positions_max() || end > step.cache->capacity())
    throw Error(ErrorCode::bad_input, "a sequence of " + std::to_string(end) +
                                          " tokens does not fit the context of " +
                                          std::to_string(std::min(positions_max(), step.cache->capacity())) +
                                          "; shorten the prompt or ask for fewer new tokens");
}

void Transformer::reach_positions(std::int64_t positions) {
  if (positions <= rope_.positions) return;
  const std::int64_t reach =
      std::min(positions_max_, std::max({positions, 2 * rope_.positions, kFirstPositions}));
  rope_ = kernels::rope_table(config_.head_dim, config_.rope_theta, config_.rope_linear_factor, reach);
}

kernels::ConstMatrixView Transformer::forward(std::span<const SequenceStep> steps, LogitRows rows) {
  QUENCH_CHECK(!steps.empty());
  std::vector<std::int32_t> tokens, positions;
  std::vector<kernels::KvSegment> segments;
  std::vector<std::int32_t> last_rows;
  for (const SequenceStep& step : steps) {
    check_step(step);
    segments.push_back(
        {nullptr, static_cast<std::int64_t>(tokens.size()), static_cast<std::int64_t>(step.tokens.size())});
    const auto start = static_cast<std::int32_t>(step.cache->length());
    for (std::size_t i = 0; i < step.tokens.size(); ++i)
      positions.push_back(start + static_cast<std::int32_t>(i));
    tokens.insert(tokens.end(), step.tokens.begin(), step.tokens.end());
    last_rows.push_back(static_cast<std::int32_t>(tokens.size()) - 1);
  }

  reach_positions(*std::max_element(positions.begin(), positions.end()) + 1);
  kernels::MatrixView hidden = hidden_.matrix(static_cast<std::int64_t>(tokens.size()), config_.hidden_size, backend_.memory());
  backend_.embed(tokens, {embedding_.data(), embedding_type_, config_.vocab_size, config_.hidden_size},
                 hidden);
  const BlockContext context{backend_, config_, rope_};
  for (std::uint32_t layer = 0; layer < config_.layers; ++layer) {
    for (std::size_t i = 0; i < steps.size(); ++i) segments[i].cache = &steps[i].cache->layer(layer);
    forward_block(context, blocks_[layer], positions, segments, hidden, workspace_);
  }

  if (rows == LogitRows::last) {
    // The rows of `hidden` are a table of fp32 rows like any other.
    const kernels::MatrixView selected =
        selected_.matrix(static_cast<std::int64_t>(steps.size()), hidden.cols, backend_.memory());
    backend_.embed(last_rows, {hidden.data, kernels::ElementType::f32, hidden.rows, hidden.cols}, selected);
    hidden = selected;
  }
  normalize(context, hidden, final_norm_, final_norm_bias_, hidden);
  const kernels::MatrixView logits = logits_.matrix(hidden.rows, config_.vocab_size, backend_.memory());
  head_.forward(backend_, hidden, logits, workspace_.gathered);
  kernels::to_host(backend_.memory(), logits);
  return logits;
}

void embed_tokens(const WeightSource& source, std::span<const std::int32_t> tokens, kernels::MatrixView out) {
  QUENCH_CHECK(std::cmp_equal(out.rows, tokens.size()), out.rows, tokens.size());
  // By rising id, so that each row, and each chunk of an artifact, is read once.
  std::vector<std::size_t> order(tokens.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return tokens[a] < tokens[b]; });
  std::vector<float> row;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::int32_t token = tokens[order[i]];
    check_token(token, source.config());
    if (i == 0 || token != tokens[order[i - 1]])
      row = read_rows(source, kEmbedding, static_cast<std::uint64_t>(token), 1);
    std::memcpy(out.row(static_cast<std::int64_t>(order[i])), row.data(), row.size() * sizeof(float));
  }
}

}  // namespace quench::worker
