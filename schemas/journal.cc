#include "schemas/journal.h"

#include <array>

#include "schemas/error.h"

namespace quench {

std::string_view to_string(JobState state) {
  constexpr std::array<std::string_view, 6> kNames = {"queued", "running", "cancelling",
                                                      "done",   "failed",  "cancelled"};
  const auto index = static_cast<std::size_t>(state);
  QUENCH_CHECK(index < kNames.size(), index);
  return kNames[index];
}

}  // namespace quench
