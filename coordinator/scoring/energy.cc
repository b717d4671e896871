#include "coordinator/scoring/energy.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

namespace quench::coordinator {
namespace {

constexpr double kJoulesPerKwh = 3.6e6;

}  // namespace

PhaseTotals total(std::span<const PhaseUsage> usage) {
  PhaseTotals totals;
  if (usage.empty()) {
    totals.energy_note = "not recorded: made by a build that did not measure, or interrupted";
    return totals;
  }
  std::map<std::uint32_t, double> seconds;  // by attempt
  // One reading for each counter of a host in each attempt: the one that watched longest.
  std::map<std::tuple<std::uint32_t, std::string, std::string>, EnergyReading> readings;
  std::set<std::string> hosts, counted_hosts, notes;
  for (const PhaseUsage& rank : usage) {
    double& slowest = seconds[rank.attempt];
    slowest = std::max(slowest, rank.seconds);
    totals.weight_bytes = std::max(totals.weight_bytes, rank.weight_bytes);
    totals.load_growth_bytes = std::max(totals.load_growth_bytes, rank.load_growth_bytes);
    totals.resident_peak_bytes = std::max(totals.resident_peak_bytes, rank.resident_peak_bytes);
    hosts.insert(rank.host);
    if (!rank.energy_note.empty()) notes.insert(rank.host + ": " + rank.energy_note);
    for (const EnergyReading& reading : rank.energy) {
      counted_hosts.insert(rank.host);
      EnergyReading& kept = readings[{rank.attempt, rank.host, reading.counter}];
      if (reading.seconds >= kept.seconds) kept = reading;
    }
  }
  for (const auto& [attempt, slowest] : seconds) totals.seconds += slowest;
  for (const std::string& note : notes) totals.energy_note += (totals.energy_note.empty() ? "" : "; ") + note;
  if (readings.empty()) return totals;
  if (counted_hosts.size() < hosts.size())
    totals.energy_note = "only " + std::to_string(counted_hosts.size()) + " of " +
                         std::to_string(hosts.size()) + " hosts could be measured; " + totals.energy_note;
  EnergyUse use;
  double idle = 0;
  bool idle_known = true;
  std::set<std::string> counters;
  for (const auto& [key, reading] : readings) {
    use.joules += reading.joules;
    idle_known = idle_known && reading.idle_watts >= 0;
    idle += reading.idle_watts * reading.seconds;
    counters.insert(std::get<1>(key) + " " + reading.counter);
  }
  if (idle_known) use.idle_joules = idle;
  use.counters.assign(counters.begin(), counters.end());
  totals.energy = std::move(use);
  return totals;
}

CarbonFactor default_carbon_factor() {
  return {436, "world average of 2022 (Ember, Global Electricity Review 2023, April 2023)"};
}

double carbon_grams(double joules, const CarbonFactor& factor) {
  return joules / kJoulesPerKwh * factor.grams_per_kwh;
}

}  // namespace quench::coordinator
