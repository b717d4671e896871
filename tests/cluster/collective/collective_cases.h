// What every Collective must do, whatever carries its bytes. Each case is called on all ranks at once and
// compares with a serial computation that knows every rank's input (seeded by rank).
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "cluster/collective/collective.h"

namespace quench::cluster::testing {

inline constexpr std::size_t kCaseSegmentBytes = 96 << 10;

struct CollectiveCase {
  std::string name;
  void (*run)(Collective& gang);
};
inline void PrintTo(const CollectiveCase& one, std::ostream* out) { *out << one.name; }
const std::vector<CollectiveCase>& collective_cases();

}  // namespace quench::cluster::testing
