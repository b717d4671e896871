// Parsers of foreign bytes under mutations of valid input: each refuses with an Error of its code, or takes a value that
// survives being written and read again. Another exception, a crash, a sanitizer's report or a slow input is a failure, which
// names its input:
//   QUENCH_FUZZ_INPUTS=10000000 bin/fuzz_test --gtest_filter='*Frame'   so many, from QUENCH_FUZZ_FIRST on
//   QUENCH_FUZZ_INPUT=17 bin/fuzz_test --gtest_filter='*Frame'          that one alone
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iostream>

#include "tests/fuzz/mutation.h"
#include "tests/fuzz/targets.h"

// Of the sanitizers, where there is one.
extern "C" void __sanitizer_set_death_callback(void (*callback)()) __attribute__((weak));

namespace quench::fuzz {
namespace {

constexpr std::uint64_t kInputs = 3000;
// Making a valid value takes longer than changing it.
constexpr std::uint64_t kInputsOfOne = 16;
// Long runs say how far they are.
constexpr std::uint64_t kTellEvery = 1'000'000;
// A parser's work is bounded by its input. CPU time: a machine with other work, or that sleeps, makes no parser slow.
constexpr std::chrono::seconds kSlow{5};

std::chrono::nanoseconds cpu_time() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

std::uint64_t number_in(const char* variable, std::uint64_t otherwise) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? otherwise : std::stoull(text);
}

char last_words[80];
void tell_input() {
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, last_words, std::strlen(last_words));
}
void on_signal(int signal) {
  tell_input();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

class Fuzz : public ::testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    std::signal(SIGABRT, on_signal);
    if (__sanitizer_set_death_callback != nullptr) {
      __sanitizer_set_death_callback(tell_input);
    } else {
      std::signal(SIGSEGV, on_signal);
    }
  }
  Bytes input(std::uint64_t number) {
    const Target& target = GetParam();
    if (const std::uint64_t seed = number / kInputsOfOne; base_.empty() || seed != base_seed_) {
      other_ = seed == base_seed_ + 1 ? base_ : target.valid(seed - (seed > 0 ? 1 : 0));
      base_ = target.valid(seed);
      base_seed_ = seed;
    }
    return Mutator(number).changed(base_, other_, target.grain, target.words);
  }
  Bytes base_;
  Bytes other_;
  std::uint64_t base_seed_ = 0;
};

TEST_P(Fuzz, EveryInputIsRefusedOrTaken) {
  const Target& target = GetParam();
  for (std::uint64_t seed = 0; seed < 20; ++seed) EXPECT_NO_THROW(target.take(target.valid(seed))) << "unchanged " << seed;
  const bool one = std::getenv("QUENCH_FUZZ_INPUT") != nullptr;
  const std::uint64_t first = number_in(one ? "QUENCH_FUZZ_INPUT" : "QUENCH_FUZZ_FIRST", 0);
  const std::uint64_t count = one ? 1 : number_in("QUENCH_FUZZ_INPUTS", kInputs);
  std::uint64_t refused = 0;
  std::chrono::nanoseconds slowest{};
  for (std::uint64_t number = first; number < first + count; ++number) {
    std::snprintf(last_words, sizeof last_words, "in input %llu of %s\n", static_cast<unsigned long long>(number), target.name);
    const Bytes bytes = input(number);
    const auto began = cpu_time();
    try {
      target.take(bytes);
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), target.refusal) << last_words << error.what();
      ++refused;
    } catch (const std::exception& exception) {
      FAIL() << last_words << "not an Error: " << exception.what();
    }
    slowest = std::max(slowest, cpu_time() - began);
    ASSERT_LT(slowest, kSlow) << last_words;
    if ((number + 1) % kTellEvery == 0) std::cout << target.name << ": " << number + 1 - first << " of " << count << std::endl;
  }
  std::cout << target.name << ": " << count << " inputs, " << refused << " refused, the slowest took "
            << std::chrono::duration_cast<std::chrono::microseconds>(slowest).count() << " us\n";
  if (one) return;
  EXPECT_GT(refused, count / 8) << "mutations hardly reach it";
  EXPECT_LT(refused, count) << "nothing gets through";
}

INSTANTIATE_TEST_SUITE_P(, Fuzz, ::testing::ValuesIn(targets()), [](const auto& target) { return target.param.name; });

}  // namespace
}  // namespace quench::fuzz
