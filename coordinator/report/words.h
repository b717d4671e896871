// The words and numbers that every form of a report shares.
#pragma once

#include <cstdint>
#include <string>

#include "coordinator/scoring/pass_at_k.h"

namespace quench::coordinator {

std::string megabytes(std::uint64_t bytes);   // "10.42", MB = 1e6 bytes
std::string percent(double share);            // "97.56"
std::string p_value(double p);                // ".041", "6.1e-21", "1"
std::string odds(double ratio);               // "2.88", "inf"
std::string points(double difference);        // percentage points with their sign: "-2.44", "0.00"
std::string interval(const Interval& range);  // percent: "95.12 .. 99.39"
std::string seconds_text(double seconds);     // "12.3"
std::string utc_text(std::uint64_t unix_ms);  // "2026-11-27 21:52:00"
inline constexpr char kNothing[] = "-";       // for what is not there

}  // namespace quench::coordinator
