#include "worker/generate/perplexity.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "schemas/error.h"

namespace quench::worker {
namespace {

// Rows of logits held at once.
constexpr std::size_t kRowsAtOnce = 256;

// The sum of -log p over the window's tokens but the first, in their order.
double window_nll(Transformer& transformer, SequenceCache& cache, std::span<const std::int32_t> window,
                  ActivationBuffer& scores) {
  double nll = 0;
  cache.clear();
  for (std::size_t begin = 0; begin < window.size(); begin += kRowsAtOnce) {
    const std::span<const std::int32_t> piece =
        window.subspan(begin, std::min(kRowsAtOnce, window.size() - begin));
    const SequenceStep step{&cache, piece};
    const kernels::ConstMatrixView logits = transformer.forward({&step, 1}, LogitRows::all);
    const kernels::MatrixView log_probabilities = scores.matrix(logits.rows, logits.cols, transformer.backend().memory());
    transformer.backend().log_softmax(logits, log_probabilities);
    kernels::to_host(transformer.backend().memory(), log_probabilities);
    for (std::size_t i = 0; i < piece.size() && begin + i + 1 < window.size(); ++i)
      nll -= static_cast<double>(log_probabilities.row(static_cast<std::int64_t>(i))[window[begin + i + 1]]);
  }
  return nll;
}

}  // namespace

Perplexity measure_perplexity(Transformer& transformer, std::span<const std::int32_t> tokens,
                              std::int64_t window,
                              const std::function<void(std::size_t done, std::size_t windows)>& progress) {
  if (window < 2 || window > transformer.positions_max())
    throw Error(ErrorCode::bad_input, "context of " + std::to_string(window) + " tokens: expected 2 to " +
                                          std::to_string(transformer.positions_max()) +
                                          ", the model's context");
  const auto width = static_cast<std::size_t>(window);
  const std::size_t windows = tokens.size() / width;
  if (windows == 0)
    throw Error(ErrorCode::bad_input, "the text has " + std::to_string(tokens.size()) +
                                          " tokens, not one window of " + std::to_string(window) +
                                          "; give a longer text or a smaller context");
  for (const std::int32_t token : tokens)
    if (token < 0 || static_cast<std::uint32_t>(token) >= transformer.config().vocab_size)
      throw Error(ErrorCode::bad_input, "token " + std::to_string(token) +
                                            " is outside the model's vocabulary of " +
                                            std::to_string(transformer.config().vocab_size) +
                                            "; the tokenizer belongs to another model");
  SequenceCache cache(transformer.config(), window, transformer.backend().memory());
  ActivationBuffer scores;
  double total = 0;
  for (std::size_t i = 0; i < windows; ++i) {
    total += window_nll(transformer, cache, tokens.subspan(i * width, width), scores);
    if (progress) progress(i + 1, windows);
  }
  Perplexity result;
  result.tokens = static_cast<std::uint64_t>(windows) * (width - 1);
  result.nll = total / static_cast<double>(result.tokens);
  // libm's exp may differ in the last bit between machines; a figure for people, in no digest.
  result.perplexity = std::exp(result.nll);
  return result;
}

}  // namespace quench::worker
