#include "coordinator/report/words.h"

#include <fmt/format.h>

#include <cmath>

namespace quench::coordinator {

std::string megabytes(std::uint64_t bytes) { return fmt::format("{:.2f}", static_cast<double>(bytes) / 1e6); }

std::string percent(double share) { return fmt::format("{:.2f}", 100.0 * share); }

std::string p_value(double p) {
  if (p >= 0.9995) return "1";
  if (p >= 0.001) return fmt::format("{:.3f}", p).substr(1);
  return fmt::format("{:.1e}", p);
}

std::string odds(double ratio) { return std::isfinite(ratio) ? fmt::format("{:.2f}", ratio) : "inf"; }

}  // namespace quench::coordinator
