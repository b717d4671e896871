// The completions behind a comparison: those pairs of equal (task, sample) that only one of the two solved,
// as HTML, side by side with their verdicts. Completions are what a model wrote, so they are hostile text.
#pragma once

#include <string>

#include "coordinator/scoring/comparison.h"

namespace quench::coordinator {

// So much is shown of one comparison, of one completion and of one program's last words; what is cut says so.
inline constexpr std::size_t kPairsShownMax = 60;
inline constexpr std::size_t kCompletionBytesMax = 8 << 10;
inline constexpr std::size_t kDetailBytesMax = 2 << 10;

// Empty when nothing differs, or when the verdicts came without completions (grade files).
std::string task_pairs_html(const Comparison& comparison, const EvaluationScore& a, const EvaluationScore& b);

}  // namespace quench::coordinator
