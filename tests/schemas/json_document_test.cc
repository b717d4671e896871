#include "schemas/json_document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schemas/error.h"

namespace quench {
namespace {

TEST(JsonDocument, KnowsThePlaceOfEveryValue) {
  const JsonDocument document =
      parse_json("{\"a\": [1, -2,\n  3.5, \"x\\\"y\", true, null],\n \"b\": {}}", 100);
  const auto* list = document.root.find("a")->as<JsonValue::List>();
  ASSERT_NE(list, nullptr);
  ASSERT_EQ(list->size(), 6u);
  const auto place = [&](std::size_t i) { return to_string((*list)[i].place); };
  EXPECT_EQ(place(0), "line 1, column 8");
  EXPECT_EQ(place(1), "line 1, column 11");
  EXPECT_EQ(place(2), "line 2, column 3");
  EXPECT_EQ(place(3), "line 2, column 8");
  EXPECT_EQ(place(4), "line 2, column 16");
  EXPECT_EQ(place(5), "line 2, column 22");
  EXPECT_EQ(to_string(document.root.find("b")->place), "line 3, column 7");
  EXPECT_EQ(*(*list)[0].as<std::uint64_t>(), 1u);
  EXPECT_EQ(*(*list)[1].as<std::int64_t>(), -2);
  EXPECT_EQ(*(*list)[2].as<double>(), 3.5);
  EXPECT_EQ(*(*list)[3].as<std::string>(), "x\"y");
}

TEST(JsonDocument, NumbersKeepAllTheirBits) {
  const JsonDocument document = parse_json("[18446744073709551615, -9223372036854775808, 0.1]", 100);
  const auto& list = *document.root.as<JsonValue::List>();
  EXPECT_EQ(*list[0].as<std::uint64_t>(), 18446744073709551615u);
  EXPECT_EQ(*list[1].as<std::int64_t>(), INT64_MIN);
  EXPECT_EQ(*list[2].as<double>(), 0.1);
}

TEST(JsonDocument, DuplicatesAreFoundAtEveryDepth) {
  const JsonDocument document = parse_json("{\"a\": [{\"k\": 1, \"j\": 2,\n\"k\": 3}], \"a\": 4}", 100);
  ASSERT_EQ(document.duplicates.size(), 2u);
  EXPECT_EQ(document.duplicates[0].pointer, "/a/0/k");
  EXPECT_EQ(to_string(document.duplicates[0].place), "line 2, column 1");
  EXPECT_EQ(document.duplicates[1].pointer, "/a");
  EXPECT_THROW(parse_strict_json("{\"a\": 1, \"a\": 1}", 100), Error);
}

TEST(JsonDocument, ValuesAreCountedAgainstMemoryBombs) {
  EXPECT_NO_THROW(parse_json("[1,2,3]", 4));
  try {
    parse_json("[1,2,3,4]", 4);
    FAIL() << "five values accepted where four are allowed";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("too many values"));
  }
}

TEST(JsonDocument, NestingHasALimit) {
  EXPECT_NO_THROW(parse_json(std::string(64, '[') + std::string(64, ']'), 1000));
  EXPECT_THROW(parse_json(std::string(65, '[') + std::string(65, ']'), 1000), Error);
}

}  // namespace
}  // namespace quench
