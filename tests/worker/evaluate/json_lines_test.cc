#include "worker/evaluate/json_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "schemas/error.h"

namespace quench::worker {
namespace {

using testing::HasSubstr;

std::string error_of(std::string_view text) {
  try {
    for_each_json_line(text, [](std::size_t, nlohmann::ordered_json) {});
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    return error.what();
  }
  return "no error";
}

TEST(JsonLines, NumbersLinesAndSkipsEmptyOnes) {
  std::vector<std::size_t> numbers;
  for_each_json_line("{\"a\": 1}\r\n\n  \n{\"a\": 2}", [&](std::size_t number, nlohmann::ordered_json object) {
    numbers.push_back(number);
    EXPECT_EQ(object["a"], numbers.size());
  });
  EXPECT_EQ(numbers, (std::vector<std::size_t>{1, 4}));
}

TEST(JsonLines, RefusesWhatIsNotOneObjectOfValidText) {
  const std::string good = "{\"a\": 1}\n";
  EXPECT_THAT(error_of(good + "{\"a\": 1"), HasSubstr("line 2: not JSON"));
  EXPECT_THAT(error_of(good + "{\"a\": 1} {}"), HasSubstr("line 2: not JSON"));
  EXPECT_THAT(error_of(good + "[1]"), HasSubstr("line 2: expected a JSON object, found a array"));
  EXPECT_THAT(error_of("{\"a\": \"\xff\"}"), HasSubstr("line 1: not JSON"));
  EXPECT_THAT(error_of("{\"a\": \"\\ud800\"}"), HasSubstr("line 1: not JSON"));
  EXPECT_THAT(error_of(std::string_view("{\"a\": \"\0\"}", 10)), HasSubstr("line 1: byte 8 is NUL"));
  EXPECT_THAT(error_of("{\"a\": 1, \"b\": {\"a\": 2}, \"a\": 3}"), HasSubstr("the key \"a\" stands twice"));
  EXPECT_EQ(error_of("{\"a\": 1, \"b\": {\"a\": 2}, \"c\": [{\"a\": 1}]}"), "no error");
  EXPECT_THAT(error_of("{\"a\": NaN}"), HasSubstr("not JSON"));
  EXPECT_THAT(error_of("{\"a\": " + std::string(100, '[') + std::string(100, ']') + "}"), HasSubstr("nests deeper"));
  EXPECT_THAT(error_of(std::string(1000000, '[')), HasSubstr("not JSON"));
  EXPECT_THAT(error_of("{\"a\": \"" + std::string(65 << 20, 'x') + "\"}"), HasSubstr("at most 64 MiB"));
}

TEST(JsonLines, ReadsFilesOnly) {
  EXPECT_THROW(read_text_file("/"), Error);
  EXPECT_THROW(read_text_file("/nowhere"), Error);
  EXPECT_FALSE(read_text_file(QUENCH_SOURCE_DIR "/CMakeLists.txt").empty());
}

}  // namespace
}  // namespace quench::worker
