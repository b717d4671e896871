// The JSON of an OpenAI-compatible API: /completions (a text goes on) and /chat/completions (a question is
// answered). Pure functions on text; what a server sends is hostile. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "worker/evaluate/completion_source.h"

namespace quench::worker {

enum class EndpointApi { completions, chat };

// Appended to the endpoint's URL.
std::string_view path_of(EndpointApi api);

struct EndpointQuery {
  std::string model;   // left out when empty: a server of one model needs none
  std::string prompt;  // chat: the user's message
  std::uint32_t max_tokens = 0;
  double temperature = 0;
  double top_p = 1;
  std::uint32_t top_k = 0;  // not of OpenAI's own API; left out when 0
  std::uint64_t seed = 0;
  std::vector<std::string> stop;
};

// OpenAI's API takes so many stop strings; what comes after another one is cut here anyway.
inline constexpr std::size_t kStopStringsMax = 4;

std::string query_to_json(EndpointApi api, const EndpointQuery& query);

// The first choice of an answer. Throws Error(corrupt) naming what is missing or of another type, or that
// the answer is no JSON.
GeneratedText parse_answer(EndpointApi api, std::string_view body);

}  // namespace quench::worker
