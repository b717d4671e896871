// The words and numbers that every form of a report shares.
#pragma once

#include <string>

#include "coordinator/scoring/scoreboard.h"

namespace quench::coordinator {

std::string megabytes(std::uint64_t bytes);  // "10.42", MB = 1e6 bytes
std::string percent(double share);           // "97.56"
std::string p_value(double p);               // ".041", "6.1e-21", "1"
std::string odds(double ratio);              // "2.88", "inf"

}  // namespace quench::coordinator
