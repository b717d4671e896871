#include "worker/endpoint/completions_api.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "schemas/error.h"

namespace quench::worker {
namespace {

using Json = nlohmann::ordered_json;

// JSON numbers are doubles to many servers, and some take 32 bits only.
constexpr std::uint64_t kSeedBits = 31;

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCode::corrupt, "the endpoint's answer " + what);
}

// A server's text may hold what a terminal obeys.
std::string printable(std::string_view text) {
  std::string plain(text);
  std::replace_if(
      plain.begin(), plain.end(), [](unsigned char c) { return c < ' ' || c >= 0x7f; }, ' ');
  return plain;
}

const Json& member(const Json& object, const char* name, const char* where) {
  if (!object.is_object() || !object.contains(name))
    refuse(std::string("has no \"") + name + "\" " + where);
  return object.at(name);
}

}  // namespace

std::string_view path_of(EndpointApi api) {
  return api == EndpointApi::chat ? "/chat/completions" : "/completions";
}

std::string query_to_json(EndpointApi api, const EndpointQuery& query) {
  Json json;
  if (!query.model.empty()) json["model"] = query.model;
  if (api == EndpointApi::chat) {
    json["messages"] = Json::array({{{"role", "user"}, {"content", query.prompt}}});
  } else {
    json["prompt"] = query.prompt;
  }
  json["max_tokens"] = query.max_tokens;
  json["temperature"] = query.temperature;
  json["top_p"] = query.top_p;
  if (query.top_k > 0) json["top_k"] = query.top_k;
  json["seed"] = query.seed & ((std::uint64_t{1} << kSeedBits) - 1);
  json["n"] = 1;
  json["stream"] = false;
  if (!query.stop.empty()) {
    const auto end = query.stop.begin() + static_cast<std::ptrdiff_t>(std::min(query.stop.size(), kStopStringsMax));
    json["stop"] = std::vector<std::string>(query.stop.begin(), end);
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

GeneratedText parse_answer(EndpointApi api, std::string_view body) {
  const Json answer = Json::parse(body, nullptr, false);
  if (answer.is_discarded()) refuse("is no JSON: \"" + printable(body.substr(0, 80)) + "\"");
  const Json& choices = member(answer, "choices", "at its top");
  if (!choices.is_array() || choices.empty()) refuse("has no choice in \"choices\"");
  const Json& text = api == EndpointApi::chat
                         ? member(member(choices[0], "message", "in its choice"), "content", "in its message")
                         : member(choices[0], "text", "in its choice");
  GeneratedText generated;
  // A chat model that has nothing to say sends null.
  if (text.is_string()) {
    generated.text = text.get<std::string>();
  } else if (!text.is_null()) {
    refuse("has something else than text in its choice");
  }
  if (const auto usage = answer.find("usage"); usage != answer.end() && usage->is_object())
    if (const auto tokens = usage->find("completion_tokens"); tokens != usage->end() && tokens->is_number_unsigned())
      generated.tokens = static_cast<std::uint32_t>(std::min<std::uint64_t>(tokens->get<std::uint64_t>(), 0xffffffff));
  return generated;
}

}  // namespace quench::worker
