#include "schemas/job_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schemas/error.h"

namespace quench {
namespace {

TEST(DerivedName, SaysWhatDiffersBetweenRecipes) {
  EXPECT_EQ(derived_name({.method = Method::none}), "none");
  EXPECT_EQ(derived_name({.method = Method::awq, .bits = 3, .group_size = 64}), "awq-3bit-g64");
  EXPECT_EQ(derived_name({.method = Method::int8, .bits = 8, .group_size = -1}), "int8");
  EXPECT_EQ(derived_name({}), "gptq-4bit-g128-sym");
  EXPECT_EQ(derived_name({.method = Method::rtn, .bits = 3, .group_size = -1, .symmetric = false}),
            "rtn-3bit-row-asym");
  EXPECT_EQ(
      derived_name(
          {.bits = 2, .group_size = 64, .act_order = true, .scale_rule = ScaleRule::search, .damping = 0.05}),
      "gptq-2bit-g64-sym-search-actorder-damp0.05");
}

TEST(ArtifactRecipes, BaselineComesFirstAndNamesAreFilledIn) {
  JobSpec job;
  job.quantize = {{.method = Method::int8}, {.name = "mine", .bits = 3}};
  const auto recipes = artifact_recipes(job);
  ASSERT_EQ(recipes.size(), 3u);
  EXPECT_EQ(recipes[0].name, "none");
  EXPECT_EQ(recipes[0].method, Method::none);
  EXPECT_EQ(recipes[0].bits, 0u);
  EXPECT_EQ(recipes[1].name, "int8");
  EXPECT_EQ(recipes[1].bits, 8u);
  EXPECT_EQ(recipes[1].group_size, -1);
  EXPECT_EQ(recipes[2].name, "mine");
  EXPECT_EQ(recipes[2].bits, 3u);
  job.baseline = false;
  EXPECT_EQ(artifact_recipes(job).size(), 2u);
}

TEST(ArtifactRecipes, EqualNamesAreRefused) {
  JobSpec job;
  job.quantize = {{.bits = 3}, {.name = "gptq-3bit-g128-sym", .bits = 2}};
  try {
    artifact_recipes(job);
    FAIL() << "accepted equal names";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_THAT(error.what(), testing::HasSubstr("two artifacts are named \"gptq-3bit-g128-sym\""));
  }
}

TEST(FixedSettings, MakeEqualWorkOneRecipe) {
  QuantizeSpec rtn{.method = Method::rtn};
  QuantizeSpec odd = rtn;
  odd.act_order = true;
  odd.damping = 0.5;
  EXPECT_EQ(with_fixed_settings(odd), with_fixed_settings(rtn));
  const QuantizeSpec gptq{.act_order = true, .damping = 0.5};
  EXPECT_EQ(with_fixed_settings(gptq), gptq);
}

}  // namespace
}  // namespace quench
