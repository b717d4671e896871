#include "coordinator/report/words.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <cmath>

namespace quench::coordinator {

std::string megabytes(std::uint64_t bytes) { return fmt::format("{:.2f}", static_cast<double>(bytes) / 1e6); }

std::string percent(double share) { return fmt::format("{:.2f}", 100.0 * share); }

std::string p_value(double p) {
  if (p >= 0.9995) return "1";
  if (p >= 0.001) return fmt::format("{:.3f}", p).substr(1);
  if (p <= 0) return "<1e-300";  // beyond what a double holds
  std::string text = fmt::format("{:.1e}", p);
  if (const std::size_t zero = text.find("e-0"); zero != std::string::npos) text.erase(zero + 2, 1);
  return text;
}

std::string odds(double ratio) { return std::isfinite(ratio) ? fmt::format("{:.2f}", ratio) : "inf"; }

std::string points(double difference) {
  const std::string text = fmt::format("{:+.2f}", 100.0 * difference);
  return text == "+0.00" || text == "-0.00" ? "0.00" : text;
}

std::string interval(const Interval& range) { return percent(range.low) + " .. " + percent(range.high); }

std::string seconds_text(double seconds) { return fmt::format("{:.1f}", seconds); }

std::string utc_text(std::uint64_t unix_ms) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::gmtime(static_cast<std::time_t>(unix_ms / 1000)));
}

}  // namespace quench::coordinator
