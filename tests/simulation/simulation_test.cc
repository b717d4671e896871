// The reactors of coordinator and worker in simulated worlds, one for each seed: messages lost, late and again, everything
// killed, stopped and restarted. However it goes, the job ends, with the bytes and verdicts of a job that nobody disturbed,
// each verdict kept once, no lease lost, nothing growing. A seed that fails is printed and replays:
//   QUENCH_SIM_SEED=17 bin/simulation_test        one seed, with what happened in it
//   QUENCH_SIM_SEEDS=100000 bin/simulation_test   so many, from QUENCH_SIM_FIRST on
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <unistd.h>

#include "tests/simulation/world.h"

namespace quench::simulation {
namespace {

constexpr std::uint64_t kSeeds = 1000;

std::uint64_t number_in(const char* variable, std::uint64_t otherwise) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? otherwise : std::stoull(text);
}

// A broken QUENCH_CHECK ends the process: its seed is told too.
char last_words[64];
void tell_seed(int) {
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, last_words, std::strlen(last_words));
}

// Empty when all is well.
std::string fault_in(std::uint64_t seed, Course& course) {
  static std::map<Shape, Results> undisturbed;
  std::snprintf(last_words, sizeof last_words, "in seed %llu\n", static_cast<unsigned long long>(seed));
  try {
    const Shape shape = shape_of(seed);
    if (!undisturbed.contains(shape)) undisturbed[shape] = World(seed, false).run().results;
    course = World(seed, true).run();
    if (course.results != undisturbed.at(shape)) return "the results are others than without a fault";
    return "";
  } catch (const Violation& violation) {
    return violation.what();
  }
}

TEST(Simulation, WhateverHappensTheJobEndsWithTheSameResults) {
  std::signal(SIGABRT, tell_seed);
  const bool one = std::getenv("QUENCH_SIM_SEED") != nullptr;
  const std::uint64_t first = one ? number_in("QUENCH_SIM_SEED", 0) : number_in("QUENCH_SIM_FIRST", 0);
  const std::uint64_t count = one ? 1 : number_in("QUENCH_SIM_SEEDS", kSeeds);
  std::map<std::string, std::uint64_t> faults;
  std::uint64_t events = 0;
  Ms simulated = 0;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    Course course;
    const std::string wrong = fault_in(seed, course);
    events += course.events;
    simulated += course.took;
    for (const auto& [name, times] : course.faults) faults[name] += times;
    if (wrong.empty() && !one) continue;
    World replayed(seed, true, true);
    try {
      replayed.run();
    } catch (const Violation&) {
    }
    std::cout << replayed.trace_text();
    ASSERT_EQ(wrong, "") << "replay: QUENCH_SIM_SEED=" << seed;
  }
  std::cout << count << " seeds, " << events << " events, " << simulated / 3'600'000 << " simulated hours;";
  for (const auto& [name, times] : faults) std::cout << " " << name << " " << times << ",";
  std::cout << "\n";
  if (count < kSeeds) return;
  EXPECT_EQ(faults.size(), 13u) << "a kind of fault never struck";
}

TEST(Simulation, ASeedGivesTheSameCourseEachTime) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    World first(seed, true, true);
    World second(seed, true, true);
    const Course one = first.run();
    const Course two = second.run();
    EXPECT_EQ(one.events, two.events) << seed;
    EXPECT_EQ(one.took, two.took) << seed;
    EXPECT_EQ(first.trace_text(), second.trace_text()) << seed;
  }
}

}  // namespace
}  // namespace quench::simulation
