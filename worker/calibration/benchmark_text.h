// The text of the shipped benchmarks' problems, to be kept out of calibration sets: a set that holds the
// answers would flatter every artifact calibrated on it.
//
// A document is taken for one that holds a problem when they share a run of ten words (words.h) that says
// something: four different words of three letters or more that are not in all code
// ("import", "equals"), or the name (some_name) of a function of the
// problem. Runs that more than four problems of one file share are that file's boilerplate and say nothing.
// Prompts, solutions and tests are looked for; of the extended tests of EvalPlus only what HumanEval and MBPP
// have too. Immutable after construction; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "schemas/digest.h"

namespace quench::worker {

class BenchmarkText {
 public:
  // Of all problem files that ship with the product. Made when first asked for, in a quarter of a second, and kept.
  static const BenchmarkText& shipped();
  // Of the problem files.
  const Digest& digest() const { return digest_; }
  // A task whose text `text` holds, as "humaneval HumanEval/0"; empty when it holds none.
  std::string_view find(std::string_view text) const;

 private:
  BenchmarkText();

  Digest digest_;
  std::vector<std::string> tasks_;
  std::unordered_map<std::uint64_t, std::uint32_t> runs_;  // to the first task that has it
  std::vector<bool> some_;  // whether any run has these low bits: most lookups end here
};

}  // namespace quench::worker
