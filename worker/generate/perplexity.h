// How well a model predicts a text (DESIGN.md section 7, `quench perplexity`).
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "worker/model/transformer.h"

namespace quench::worker {

struct Perplexity {
  double nll = 0;            // mean negative log-likelihood of the scored tokens, in nats
  double perplexity = 0;     // exp(nll)
  std::uint64_t tokens = 0;  // scored
};

// Cuts `tokens` into windows of `window` tokens, predicts each from its own start (its first token is not
// scored) and takes the mean over all whole windows; a shorter rest is left out. `progress(done, windows)`
// may be empty. Throws Error(bad_input) when there is no whole window, when `window` is below 2 or beyond the
// transformer's positions_max, and for tokens outside the vocabulary.
Perplexity measure_perplexity(
    Transformer& transformer, std::span<const std::int32_t> tokens, std::int64_t window,
    const std::function<void(std::size_t done, std::size_t windows)>& progress = {});

}  // namespace quench::worker
