// The first promise (DESIGN.md section 3): the same bytes on any number of ranks and threads and on any
// instruction set. Real programs, real mpirun, a real store.
#include <gtest/gtest.h>

#include <set>
#include <tuple>

#include "tests/integration/small_job.h"

namespace quench::testing {
namespace {

struct Setting {
  int ranks;
  int threads;
  std::string backend;  // empty: the best here
};

Finished quantize(const ScratchDirectory& scratch, const Setting& setting) {
  const auto store = scratch / ("store-" + std::to_string(setting.ranks) + "-" +
                                std::to_string(setting.threads) + setting.backend);
  std::vector<std::string> arguments = run_arguments(scratch / "job.json", store, setting.ranks);
  arguments.insert(arguments.end(), {"--threads", std::to_string(setting.threads)});
  Environment environment;
  if (!setting.backend.empty()) environment["QUENCH_BACKEND"] = setting.backend;
  return run(arguments, environment);
}

void expect_the_same_everywhere(const nlohmann::json& job, std::size_t artifacts) {
  const ScratchDirectory scratch;
  write_text(scratch / "job.json", job.dump());
  const Finished reference = quantize(scratch, {1, 1, ""});
  ASSERT_EQ(reference.exit_code, 0) << reference.err;
  const std::vector<std::string> expected = digests_of(reference);
  ASSERT_EQ(expected.size(), artifacts);
  EXPECT_EQ(std::set<std::string>(expected.begin(), expected.end()).size(), expected.size());

  std::vector<Setting> settings = {{2, 1, ""}, {3, 1, ""},       {4, 1, ""},      {1, 2, ""},
                                   {2, 2, ""}, {1, 1, "scalar"}, {3, 1, "scalar"}};
  for (const std::string backend : {"avx2", "avx512"}) {
    const Finished probe = run({worker_program(), "--backend", backend, "generate", "--model",
                                fixture("stories260k"), "--prompt", "a", "--max-tokens", "1"});
    // A machine without these instructions cannot compare them; the error says so by name.
    if (probe.exit_code == 0)
      settings.push_back({2, 1, backend});
    else
      EXPECT_NE(probe.err.find(backend), std::string::npos) << probe.err;
  }
  for (const Setting& setting : settings) {
    const Finished finished = quantize(scratch, setting);
    ASSERT_EQ(finished.exit_code, 0) << finished.err;
    EXPECT_EQ(digests_of(finished), expected)
        << setting.ranks << " ranks, " << setting.threads << " threads, backend " << setting.backend;
  }
}

TEST(SameBytes, OnEveryNumberOfRanksAndThreadsAndBackend) { expect_the_same_everywhere(small_job(), 6); }

TEST(SameBytes, OfCodebooksOnEveryNumberOfRanksAndThreadsAndBackend) {
  const ScratchDirectory scratch;
  write_divisible_model(scratch / "model");
  nlohmann::json job = small_job();
  job["model"] = (scratch / "model").string();
  job["baseline"] = false;
  job["quantize"] = {{{"method", "aqlm"}, {"codebooks", 1}, {"codebookBits", 7}, {"groupSize", 16}},
                     {{"method", "aqlm"}, {"codebooks", 2}, {"codebookBits", 5}}};
  expect_the_same_everywhere(job, 2);
}

TEST(SameBytes, OfScaledWeightsOnEveryNumberOfRanksAndThreadsAndBackend) {
  const ScratchDirectory scratch;
  write_divisible_model(scratch / "model");
  nlohmann::json job = small_job();
  job["model"] = (scratch / "model").string();
  job["baseline"] = false;
  job["quantize"] = {{{"method", "awq"}, {"groupSize", 32}}, {{"method", "awq"}, {"bits", 3}, {"groupSize", -1}}};
  expect_the_same_everywhere(job, 2);
}

TEST(SameBytes, ASecondRunFindsEverythingAndStartsNothing) {
  const ScratchDirectory scratch;
  nlohmann::json job = small_job();
  job["quantize"] = {{{"method", "int8"}}};
  job["evaluate"] = {{{"benchmark", "humaneval"}, {"maxTokens", 8}, {"tasks", 3}}};
  write_text(scratch / "job.json", job.dump());
  const auto arguments = run_arguments(scratch / "job.json", scratch / "store", 2);
  const Finished first = run(arguments);
  ASSERT_EQ(first.exit_code, 0) << first.err;
  // Without mpirun on the path nothing could be started.
  const Finished second = run(arguments, {{"PATH", "/nonexistent"}});
  ASSERT_EQ(second.exit_code, 0) << second.err;
  EXPECT_EQ(second.out, first.out);
  EXPECT_NE(second.err.find("done before"), std::string::npos) << second.err;
}

TEST(SameBytes, AnotherJobWithTheSameRecipeGivesTheSameArtifact) {
  const ScratchDirectory scratch;
  nlohmann::json job = small_job();
  job["baseline"] = false;
  job["quantize"] = {{{"method", "gptq"}, {"bits", 4}, {"groupSize", 32}, {"name", "first"}}};
  write_text(scratch / "a.json", job.dump());
  job["name"] = "other";
  job["quantize"][0]["name"] = "second";
  write_text(scratch / "b.json", job.dump());
  const Finished a = run(run_arguments(scratch / "a.json", scratch / "store", 1));
  const Finished b = run(run_arguments(scratch / "b.json", scratch / "store", 2));
  ASSERT_EQ(a.exit_code, 0) << a.err;
  ASSERT_EQ(b.exit_code, 0) << b.err;
  EXPECT_EQ(nlohmann::json::parse(a.out)["artifacts"][0]["digest"],
            nlohmann::json::parse(b.out)["artifacts"][0]["digest"]);
}

}  // namespace
}  // namespace quench::testing
