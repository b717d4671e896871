#include "schemas/service_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schemas/error.h"

namespace quench {
namespace {

using testing::HasSubstr;

template <typename T>
std::string error_of(const std::string& json) {
  try {
    from_json<T>(json, "the body");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input) << error.what();
    return error.what();
  }
  return "(accepted)";
}

TEST(ServiceJson, KeysAreSnakeCaseAndEmptyTextIsLeftOut) {
  JobView view;
  view.id = 7;
  view.name = "small";
  view.state = JobState::cancelling;
  view.progress = JobProgress{"int8", 3, 5, "", 1.5};
  EXPECT_EQ(to_json(view),
            "{\"id\":7,\"name\":\"small\",\"priority\":0,\"state\":\"cancelling\",\"place\":0,\"ranks\":0,"
            "\"submitted_unix_ms\":0,\"started_unix_ms\":0,\"ended_unix_ms\":0,\"starts\":0,\"digest\":null,"
            "\"progress\":{\"what\":\"int8\",\"done\":3,\"total\":5,\"seconds_left\":1.5},\"after\":[]}");
}

TEST(ServiceJson, TextThatIsNotUtf8StaysReadableJson) {
  EXPECT_EQ(to_json(LogEvent{1, "a\xff"}), "{\"job\":1,\"text\":\"a\xef\xbf\xbd\"}");
}

TEST(ServiceJson, ConfigurationHasDefaults) {
  const auto config = from_json<ServeConfig>(
      R"({"store": "s", "localUsers": [{"user": "*", "scopes": ["read"]}], "slots": 8})", "serve.json");
  ServeConfig expected;
  expected.store = "s";
  expected.local_users = {{"*", {"read"}}};
  expected.slots = 8;
  EXPECT_EQ(config, expected);
  EXPECT_EQ(config.queued_max, 1000u);
  EXPECT_EQ(config.launcher, "local");
}

TEST(ServiceJson, EveryMistakeIsNamedWithItsPlace) {
  const std::string found = error_of<ServeConfig>("{\n  \"stor\": \"s\",\n  \"slots\": -1,\n  \"slots\": 2\n}");
  EXPECT_THAT(found, HasSubstr("the body: 3 mistakes"));
  EXPECT_THAT(found, HasSubstr("/stor (line 2, column 3): unknown key"));
  EXPECT_THAT(found, HasSubstr("store"));
  EXPECT_THAT(found, HasSubstr("/slots (line 3, column 12): found -1; expected an integer from 0 to 4294967295"));
  EXPECT_THAT(found, HasSubstr("this key is given twice"));
  EXPECT_THAT(error_of<CancelRequest>("[]"), HasSubstr("expected an object"));
  EXPECT_THAT(error_of<CancelRequest>("{"), HasSubstr("line 1"));
  EXPECT_THAT(error_of<TokenRequest>(R"({"scopes": "read"})"), HasSubstr("expected a list"));
}

TEST(ServiceJson, ShapesNameEveryKeyThatIsWritten) {
  const std::string shapes = service_shapes_json();
  for (const char* key : {"\"seconds_left\"", "\"relative_loss\"", "\"groupSize\"", "\"cancelling\"", "\"TokenRequest\""})
    EXPECT_THAT(shapes, HasSubstr(key));
}

}  // namespace
}  // namespace quench
