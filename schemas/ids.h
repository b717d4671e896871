// Small identifying types used on every room's border.
#pragma once

#include <compare>
#include <cstdint>

namespace quench {

// One start of a gang. Every frame carries it; frames of an older attempt are refused.
struct AttemptNumber {
  std::uint32_t value = 0;
  auto operator<=>(const AttemptNumber&) const = default;
};

// A rank of a gang: 0 ≤ rank < world.
struct RankId {
  std::uint32_t rank = 0;
  std::uint32_t world = 1;
  auto operator<=>(const RankId&) const = default;
};

// A loan of evaluation work to one worker; unique within its evaluation and a coordinator's life.
struct LeaseId {
  std::uint64_t value = 0;
  auto operator<=>(const LeaseId&) const = default;
};

}  // namespace quench
