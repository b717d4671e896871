// Which token comes next. Temperature 0 is the arg-max (the backend's: the lowest id wins a tie). Otherwise
// temperature, then top-k, then top-p, then one draw of our own generator from our own distribution:
//
//   p        = softmax(logits / temperature)
//   top-k    keeps the k likeliest tokens
//   top-p    keeps the smallest set of the likeliest tokens, of those, whose share of their probability
//            reaches top_p
//   draw     walks what is left from the likeliest down until the share passed exceeds u
//
// "Likelier" is a larger log-probability, then a lower id, so that everything is one fixed order. Sums are in
// double in that order, except the whole vocabulary's, which runs by id. A Sampler holds scratch and
// belongs to one thread; its result depends on its arguments alone.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"
#include "worker/generate/random_stream.h"

namespace quench::worker {

struct SamplingSettings {
  double temperature = 0.0;  // 0: greedy
  std::uint32_t top_k = 0;   // 0: off
  double top_p = 1.0;        // in (0, 1]
};

// Throws Error(bad_input) naming the setting: a negative or non-finite temperature, top_p outside (0, 1].
void check_settings(const SamplingSettings& settings);

class Sampler {
 public:
  // The token drawn from one row of logits, with `u` uniform in [0, 1). `settings` are checked.
  std::int32_t sample(kernels::Backend& backend, std::span<const float> logits,
                      const SamplingSettings& settings, double u);
  // The same from log-probabilities that already have their temperature.
  std::int32_t draw(std::span<const float> log_probabilities, std::uint32_t top_k, double top_p, double u);

 private:
  struct Candidate {
    float log_probability;
    std::int32_t token;
    double probability;
  };
  std::vector<float> scaled_;
  std::vector<Candidate> candidates_;
};

}  // namespace quench::worker
