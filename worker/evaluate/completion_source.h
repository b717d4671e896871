// Where the texts of an evaluation come from: a model on this machine, or an endpoint that serves one.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "schemas/error.h"
#include "schemas/messages.h"

namespace quench::worker {

struct GeneratedText {
  std::string text;          // as it was generated, before any cut; UTF-8
  std::uint32_t tokens = 0;  // generated
};

// What became of a lease: a text for each item, in the order of the items, or nothing where `failure` came
// first. What was generated before a failure is not lost by it.
struct MadeTexts {
  std::vector<std::optional<GeneratedText>> texts;
  std::optional<Error> failure;
};

class CompletionSource {
 public:
  virtual ~CompletionSource() = default;
  // `on_progress` is called now and then while work goes on, from the calling thread.
  virtual MadeTexts make(const std::vector<LeaseItem>& items, const std::function<void()>& on_progress) = 0;
};

}  // namespace quench::worker
