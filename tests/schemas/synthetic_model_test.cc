#include "schemas/synthetic_model.h"

#include <gtest/gtest.h>

#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench {
namespace {

std::string refusal(const std::string& text) {
  try {
    parse_synthetic_model(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    return error.what();
  }
  return "accepted";
}

std::string job_refusal(const std::string& json) {
  try {
    parse_job(json, "job.json", "/somewhere");
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(SyntheticModel, HasTheParametersItsNameSays) {
  const ModelConfig config = parse_synthetic_model("synthetic:codellama-34b").config;
  EXPECT_EQ(config.hidden_size, 8192u);
  EXPECT_EQ(config.kv_heads, 8u);
  EXPECT_EQ(config.rope_theta, 1e6);
  // What each name promises, in billions of parameters: a wrong size would show.
  for (const auto& [name, billions] : std::vector<std::pair<std::string, double>>{{"codellama-7b", 6.74},
                                                                                  {"codellama-13b", 13.02},
                                                                                  {"codellama-34b", 33.74},
                                                                                  {"deepseek-coder-1.3b", 1.35},
                                                                                  {"deepseek-coder-6.7b", 6.74},
                                                                                  {"deepseek-coder-33b", 33.34}}) {
    const ModelConfig shape = parse_synthetic_model("synthetic:" + name).config;
    double parameters = 0;
    for (const NamedShape& outer : outer_tensors(shape)) {
      double count = 1;
      for (const std::uint64_t size : outer.shape) count *= static_cast<double>(size);
      parameters += count;
    }
    for (const LinearShape& linear : block_linears(shape, 0))
      parameters += shape.layers * static_cast<double>(linear.outputs) * linear.inputs;
    EXPECT_NEAR(parameters / 1e9, billions, 0.01) << name;
  }
  EXPECT_EQ(synthetic_shapes().size(), 6u);
}

TEST(SyntheticModel, HasOneNameAndOneDigestForOneModel) {
  const SyntheticModel plain = parse_synthetic_model("synthetic:codellama-34b");
  const SyntheticModel same = parse_synthetic_model("synthetic:codellama-34b,layers=48,seed=0");
  const SyntheticModel small = parse_synthetic_model("synthetic:codellama-34b,seed=7,layers=2");
  EXPECT_EQ(same.name, plain.name);
  EXPECT_EQ(synthetic_source_digest(same), synthetic_source_digest(plain));
  EXPECT_EQ(small.name, "synthetic:codellama-34b,layers=2,seed=7");
  EXPECT_EQ(small.config.layers, 2u);
  EXPECT_EQ(small.seed, 7u);
  EXPECT_NE(synthetic_source_digest(small), synthetic_source_digest(plain));
  EXPECT_NE(synthetic_source_digest(parse_synthetic_model("synthetic:codellama-34b,layers=2")),
            synthetic_source_digest(small));
}

TEST(SyntheticModel, RefusesWhatIsNone) {
  EXPECT_NE(refusal("synthetic:codelama-34b").find("did you mean \"codellama-34b\""), std::string::npos);
  EXPECT_NE(refusal("synthetic:").find("unknown shape"), std::string::npos);
  EXPECT_NE(refusal("synthetic:codellama-7b,layer=2").find("did you mean \"layers\""), std::string::npos);
  EXPECT_NE(refusal("synthetic:codellama-7b,layers=two").find("whole number"), std::string::npos);
  EXPECT_NE(refusal("synthetic:codellama-7b,layers=").find("whole number"), std::string::npos);
  EXPECT_NE(refusal("synthetic:codellama-7b,layers=0").find("num_hidden_layers"), std::string::npos);
  EXPECT_NE(refusal("synthetic:codellama-7b,heads=7").find("num_"), std::string::npos);
}

TEST(SyntheticModel, AJobOfItNeedsNoTextAndEvaluatesNothing) {
  const std::string gptq = R"("quantize": [{"method": "gptq"}])";
  const JobSpec job =
      parse_job(R"({"model": "synthetic:codellama-34b,layers=48", )" + gptq + "}", "job.json", "/somewhere");
  EXPECT_EQ(job.model, "synthetic:codellama-34b");
  EXPECT_EQ(job.name, "synthetic-codellama-34b");
  EXPECT_FALSE(job.baseline);
  EXPECT_TRUE(parse_job(R"({"model": "synthetic:codellama-7b", "baseline": true})", "job.json", "/").baseline);

  EXPECT_NE(job_refusal(R"({"model": "synthetic:codellama-8b", )" + gptq + "}").find("/model"), std::string::npos);
  EXPECT_NE(job_refusal(R"({"model": "synthetic:codellama-7b"})").find("/quantize"), std::string::npos);
  EXPECT_NE(job_refusal(R"({"model": "synthetic:codellama-7b", "calibration": {"files": ["a.txt"]}, )" + gptq + "}")
                .find("/calibration/files"),
            std::string::npos);
  EXPECT_NE(job_refusal(R"({"model": "synthetic:codellama-7b", "evaluate": [{"benchmark": "humaneval"}], )" + gptq + "}")
                .find("no tokenizer"),
            std::string::npos);
}

}  // namespace
}  // namespace quench
