// The end of the first complete function, found with tree-sitter: a base model goes on after the function
// that it was asked for, and not always with something that a stop string knows. Any thread. What it is given
// is hostile: bytes of any kind and any nesting cost time in proportion to their number, of which the first
// kFunctionCutBytesMax are looked at, and no deep stack. (Debian's tree-sitter 0.20.7 counts a node's
// children in 16 bits and frees what it should not at 65,536 of them: a line of so many brackets was enough.)
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "worker/evaluate/benchmarks.h"

namespace quench::worker {

// Eight times what a model writes in 1024 tokens.
inline constexpr std::size_t kFunctionCutBytesMax = 32 << 10;

// Where a function ends: after its last character, and before that brace which closes a Java method (equal to
// `after` in Python, which has none).
struct FunctionEnd {
  std::size_t before_brace = 0;
  std::size_t after = 0;
};

// The function meant is the one that source[0, begin) opens and source[begin, …) goes on with. Where the
// first part opens none, it is the first in the second part that `tests` calls by its name, or else the
// first. Helpers before it stay; decorators and functions inside belong to it. A function counts once it is
// complete and free of errors: whatever prose or broken code comes later changes nothing. Nothing when there
// is no such function: it was cut short, or is no program.
std::optional<FunctionEnd> end_of_function(Language language, std::string_view source, std::size_t begin,
                                           std::string_view tests);

// The same question while a completion is being generated.
class FunctionWatch {
 public:
  FunctionWatch(Language language, std::string prompt, std::string tests);
  ~FunctionWatch();
  FunctionWatch(FunctionWatch&&) noexcept;

  // `completion` begins with what the last call was given. True once the function is complete and something
  // after it has begun: what end_of_function finds in this completion it finds in every longer one.
  bool is_complete(std::string_view completion);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace quench::worker
