// From what the ranks measured to what a phase took: time, memory, energy, carbon. Counters belong to hosts;
// ranks of one host read the same ones, and each is taken once. Nothing is estimated: what was not measured
// stays absent, with the reason. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "schemas/artifact.h"

namespace quench::coordinator {

struct EnergyUse {
  double joules = 0;                  // of every counter of every host
  std::optional<double> idle_joules;  // idle power × time; only where every counter has an idle power
  std::vector<std::string> counters;  // what was counted: "node1 rapl package-0"
};

struct PhaseTotals {
  double seconds = 0;              // of the slowest rank, added over attempts
  std::uint64_t weight_bytes = 0;  // of one process: the exact sum of its weight buffers
  std::uint64_t load_growth_bytes = 0;
  std::uint64_t resident_peak_bytes = 0;  // of the largest process
  std::optional<EnergyUse> energy;
  std::string energy_note;  // why there is none, or what is missing in it
};
PhaseTotals total(std::span<const PhaseUsage> usage);

// Grams of CO2 equivalents that a kilowatt-hour of electricity stands for, and who says so.
struct CarbonFactor {
  double grams_per_kwh = 0;
  std::string source;
};
// The world's average; a lab should name its own grid's.
CarbonFactor default_carbon_factor();
double carbon_grams(double joules, const CarbonFactor& factor);

}  // namespace quench::coordinator
