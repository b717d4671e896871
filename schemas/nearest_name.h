// "Did you mean": the known name closest to a mistyped one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace quench {

// The known name that differs from `wanted` in case and underscores only, or else by at most a third of
// its letters changed, added, dropped or swapped; empty when none is that close.
std::string nearest_name(std::string_view wanted, const std::vector<std::string>& known);

// "; did you mean \"bits\"?" followed by what is known here, for the end of an error message.
std::string known_names(std::string_view wanted, const std::vector<std::string>& known);

}  // namespace quench
