#include "schemas/machine_profile.h"

#include <gtest/gtest.h>

#include "schemas/error.h"

namespace quench {
namespace {

std::string refusal(const std::string& json) {
  try {
    parse_profile(json, "machine.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    return error.what();
  }
  return "accepted";
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(RateCurve, IsStraightInLogarithmsAndFlatBeyondItsEnds) {
  const RateCurve curve{{{256, 10}, {1024, 40}, {4096, 20}}};
  EXPECT_DOUBLE_EQ(curve.at(1), 10);
  EXPECT_DOUBLE_EQ(curve.at(256), 10);
  EXPECT_DOUBLE_EQ(curve.at(512), 20);
  EXPECT_NEAR(curve.at(2048), 28.284271, 1e-6);
  EXPECT_DOUBLE_EQ(curve.at(1e9), 20);
}

TEST(MachineProfile, IsReadAsItWasWritten) {
  MachineProfile profile = published_profile("h200-sxm");
  profile.start_s.reset();
  profile.programs_per_s = 61.5;
  EXPECT_EQ(parse_profile(profile_to_json(profile), "machine.json"), profile);
  const RateCurve curve{{{256, 1e9}, {1024, 2e9}}};
  profile.bf16 = {curve, curve, curve, curve, {{4, curve, curve}}};
  EXPECT_EQ(parse_profile(profile_to_json(profile), "machine.json"), profile);
}

TEST(MachineProfile, ServesWithoutRatesOfBf16) {
  const MachineProfile profile = published_profile("a100-80gb");
  const std::string json = profile_to_json(profile);
  EXPECT_EQ(parse_profile(replaced(json, "  \"bf16\": null,\n", ""), "machine.json"), profile);
  EXPECT_NE(refusal(replaced(json, "\"bf16\": null", "\"bf16\": {\"decode\": []}")).find("\"bf16\": \"forward_flops_per_s\" is missing"),
            std::string::npos);
}

TEST(MachineProfile, WhatIsPublishedSaysThatItIsNotMeasured) {
  for (const std::string& name : published_profile_names()) {
    const MachineProfile profile = published_profile(name);
    EXPECT_FALSE(profile.is_measured) << name;
    EXPECT_NE(profile.origin.find("published"), std::string::npos) << name;
  }
  EXPECT_THROW(published_profile("h300"), Error);
}

TEST(MachineProfile, RefusesWhatIsNone) {
  const std::string good = profile_to_json(published_profile("a100-80gb"));
  EXPECT_NE(refusal("{}").find("\"format\""), std::string::npos);
  EXPECT_NE(refusal("{").find("machine.json"), std::string::npos);
  EXPECT_NE(refusal(replaced(good, "machine profile 1", "machine profile 2")).find("profile 1"), std::string::npos);
  EXPECT_NE(refusal(replaced(good, "\"ranks\": 8", "\"ranks\": 0")).find("\"ranks\" (line"), std::string::npos);
  EXPECT_NE(refusal(replaced(good, "\"round_weights_per_s\": ", "\"round_weights_per_s\": -"))
                .find("a number above 0"),
            std::string::npos);
  EXPECT_NE(refusal(replaced(good, "\"commit_s\"", "\"commit\"")).find("\"commit_s\" is missing"), std::string::npos);
  EXPECT_NE(refusal(replaced(good, "4096.0", "-1")).find("a number above 0"), std::string::npos);
}

}  // namespace
}  // namespace quench
