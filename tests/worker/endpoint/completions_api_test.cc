#include "worker/endpoint/completions_api.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "schemas/error.h"

namespace quench::worker {
namespace {

TEST(CompletionsApi, AsksForOneCompletion) {
  EndpointQuery query;
  query.model = "m";
  query.prompt = "def f():\n\t\"\xc3\xa9\"";
  query.max_tokens = 17;
  query.temperature = 0.25;
  query.top_p = 0.5;
  query.seed = (std::uint64_t{1} << 40) + 5;
  query.stop = {"\ndef ", "\nclass ", "\nif ", "\nprint", "\n#"};
  const auto json = nlohmann::json::parse(query_to_json(EndpointApi::completions, query));
  EXPECT_EQ(json, (nlohmann::json{{"model", "m"},
                                  {"prompt", query.prompt},
                                  {"max_tokens", 17},
                                  {"temperature", 0.25},
                                  {"top_p", 0.5},
                                  {"seed", 5},
                                  {"n", 1},
                                  {"stream", false},
                                  {"stop", {"\ndef ", "\nclass ", "\nif ", "\nprint"}}}));
  EXPECT_EQ(path_of(EndpointApi::completions), "/completions");
}

TEST(CompletionsApi, AsksAsAChat) {
  EndpointQuery query;
  query.prompt = "Write f.";
  query.top_k = 40;
  const auto json = nlohmann::json::parse(query_to_json(EndpointApi::chat, query));
  EXPECT_EQ(json["messages"], (nlohmann::json{{{"role", "user"}, {"content", "Write f."}}}));
  EXPECT_EQ(json["top_k"], 40);
  for (const char* absent : {"prompt", "model", "stop"}) EXPECT_FALSE(json.contains(absent)) << absent;
  EXPECT_EQ(path_of(EndpointApi::chat), "/chat/completions");
}

TEST(CompletionsApi, ReadsAnswers) {
  const GeneratedText text =
      parse_answer(EndpointApi::completions, R"({"choices": [{"text": "    return 1\n"}], "usage": {"completion_tokens": 5}})");
  EXPECT_EQ(text.text, "    return 1\n");
  EXPECT_EQ(text.tokens, 5u);
  const GeneratedText chat =
      parse_answer(EndpointApi::chat, R"({"choices": [{"message": {"role": "assistant", "content": "hi"}}]})");
  EXPECT_EQ(chat.text, "hi");
  EXPECT_EQ(chat.tokens, 0u);
  EXPECT_EQ(parse_answer(EndpointApi::chat, R"({"choices": [{"message": {"content": null}}]})").text, "");
}

TEST(CompletionsApi, SaysWhatAnAnswerLacks) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "no JSON"},
      {"<html>busy</html>", "no JSON"},
      {R"({"choices": [{"text": "cut)", "no JSON"},
      {"[]", "no \"choices\""},
      {R"({"choices": []})", "no choice"},
      {R"({"choices": 3})", "no choice"},
      {R"({"choices": [3]})", "no \"text\""},
      {R"({"choices": [{"text": 7}]})", "something else than text"},
      {R"({"error": {"message": "overloaded"}})", "no \"choices\""},
      {"{\"choices\": [{\"text\": \"\xff\"}]}", "no JSON"},
  };
  for (const auto& [body, words] : cases) {
    try {
      parse_answer(EndpointApi::completions, body);
      ADD_FAILURE() << body;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::corrupt);
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
      for (const char c : std::string(error.what())) EXPECT_GE(c, ' ');
    }
  }
}

// Whatever a server sends, it is a text or one clear error.
TEST(CompletionsApi, SurvivesMutatedAnswers) {
  const std::string good = R"({"id": "x", "choices": [{"text": "    return [1, 2]\n", "index": 0}], "usage": {"completion_tokens": 5}})";
  std::mt19937 random(5);
  for (int round = 0; round < 3000; ++round) {
    std::string body = good;
    for (std::uint32_t change = 0; change <= random() % 4; ++change) {
      const std::size_t at = random() % body.size();
      switch (random() % 3) {
        case 0:
          body[at] = static_cast<char>(random());
          break;
        case 1:
          body.erase(at, random() % 8);
          break;
        default:
          body.insert(at, std::string(random() % 5, "[{\"\\0"[random() % 5]));
      }
      if (body.empty()) body = " ";
    }
    for (const EndpointApi api : {EndpointApi::completions, EndpointApi::chat}) {
      try {
        parse_answer(api, body);
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::corrupt);
      }
    }
  }
  EXPECT_THROW(parse_answer(EndpointApi::completions, std::string(200'000, '[')), Error);
}

}  // namespace
}  // namespace quench::worker
