// Does one artifact solve what another does not? Exact McNemar on paired samples, as the study has
// it, with the odds ratio b/c, and Benjamini–Hochberg within one family of tests. Pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "coordinator/scoring/pass_at_k.h"

namespace quench::coordinator {

// Discordant pairs: only A passed, only B passed.
struct Discordance {
  std::uint64_t only_a = 0;
  std::uint64_t only_b = 0;
};

// p = min(1, 2 · P(X ≤ min(b, c))), X binomial(b + c, ½). 1 when nothing is discordant.
double mcnemar_exact(const Discordance& pairs);
// only_a / only_b. Infinity when only_b is 0 and only_a is not; 1 when both are 0.
double odds_ratio(const Discordance& pairs);
// Exact 95 % interval of the odds ratio from the Clopper–Pearson interval of b / (b + c).
Interval odds_ratio_interval(const Discordance& pairs);
// Adjusted p-values, in the order given.
std::vector<double> benjamini_hochberg(std::span<const double> p_values);

}  // namespace quench::coordinator
