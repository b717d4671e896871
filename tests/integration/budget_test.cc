// "budgetGiB": bits and group size of each linear chosen for a budget, through the whole program, on the
// trained model.
#include <gtest/gtest.h>

#include <sstream>

#include "tests/integration/small_job.h"

namespace quench::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

json job_of(const json& recipes) {
  return {{"name", "budget"},
          {"model", fixture("tiny_coder").string()},
          {"baseline", false},
          {"quantize", recipes},
          {"calibration",
           {{"files", {fixture("calibration_python.txt").string()}}, {"sequences", 32}, {"length", 256}}}};
}

json run_job(const ScratchDirectory& scratch, const json& recipes, const std::string& store, int ranks = 1) {
  write_text(scratch / "job.json", job_of(recipes).dump());
  const Finished finished = run(run_arguments(scratch / "job.json", scratch / store, ranks));
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  return json::parse(finished.out, nullptr, false)["artifacts"];
}

// What the model was trained on: the problems with their solutions.
fs::path write_solutions(const ScratchDirectory& scratch) {
  std::istringstream lines(read_text(fs::path(QUENCH_SOURCE_DIR) / "worker/evaluate/data/HumanEval.jsonl"));
  std::string text;
  int taken = 0;
  for (std::string line; taken < 60 && std::getline(lines, line); ++taken) {
    const json problem = json::parse(line);
    text += problem["prompt"].get<std::string>() + problem["canonical_solution"].get<std::string>() + "\n";
  }
  write_text(scratch / "solutions.txt", text);
  return scratch / "solutions.txt";
}

TEST(Budget, HoldsAndBeatsOneSizeForAll) {
  const ScratchDirectory scratch;
  const fs::path text = write_solutions(scratch);
  const auto perplexity = [&](const std::string& digest) {
    const Finished finished = run({quench_program(), "perplexity", digest, "--text", text, "--context", "256",
                                   "--store", scratch / "store", "--json"});
    EXPECT_EQ(finished.exit_code, 0) << finished.err;
    return json::parse(finished.out)["perplexity"].get<double>();
  };
  for (const int bits : {2, 3}) {
    const json uniform = run_job(
        scratch, {{{"method", "gptq"}, {"bits", bits}, {"groupSize", 64}, {"symmetric", false}}}, "store")[0];
    const auto bytes = uniform["bytes"].get<std::uint64_t>();
    const double gib = static_cast<double>(bytes) / (1 << 30);
    const json chosen =
        run_job(scratch, {{{"method", "gptq"}, {"budgetGiB", gib}, {"symmetric", false}}}, "store")[0];
    EXPECT_LE(chosen["bytes"].get<std::uint64_t>(), bytes);
    const double before = perplexity(uniform["digest"]), after = perplexity(chosen["digest"]);
    std::cout << bits << " bits: " << bytes << " bytes, perplexity " << before
              << "; chosen: " << chosen["bytes"] << " bytes, " << chosen["bits_per_weight"]
              << " bits per weight, perplexity " << after << "\n";
    EXPECT_LT(after, before) << bits << " bits";
    const json manifest = json::parse(
        run({quench_program(), "artifacts", "show", chosen["digest"], "--store", scratch / "store", "--json"})
            .out);
    std::set<int> different;
    for (const json& tensor : manifest["tensors"])
      if (tensor["layout"] == "packed") different.insert(tensor["bits"].get<int>());
    EXPECT_GT(different.size(), 1u);
  }
}

TEST(Budget, IsTheSameOnAnyNumberOfRanks) {
  const ScratchDirectory scratch;
  const json recipe = {{{"method", "gptq"}, {"budgetGiB", 0.003}, {"actOrder", true}}};
  const json one = run_job(scratch, recipe, "store1", 1)[0], three = run_job(scratch, recipe, "store3", 3)[0];
  EXPECT_EQ(one["name"], "gptq-0.003GiB-sym-actorder");
  EXPECT_EQ(one["digest"], three["digest"]);
}

TEST(Budget, ThatNothingFitsIsToldBeforeAnythingRuns) {
  const ScratchDirectory scratch;
  write_text(scratch / "job.json", job_of({{{"method", "gptq"}, {"budgetGiB", 0.001}}}).dump());
  for (const std::string verb : {"plan", "run"}) {
    const Finished finished =
        run({quench_program(), verb, scratch / "job.json", "--store", scratch / "store"});
    EXPECT_EQ(finished.exit_code, 2) << finished.err;
    EXPECT_NE(finished.err.find("at its smallest this model takes 0.00"), std::string::npos) << finished.err;
    EXPECT_NE(finished.err.find("give it more"), std::string::npos) << finished.err;
  }
}

TEST(Budget, OtherToolsFormatsCannotSayIt) {
  const ScratchDirectory scratch;
  const json chosen = run_job(scratch, {{{"method", "gptq"}, {"budgetGiB", 0.003}}}, "store")[0];
  const Finished finished = run({quench_program(), "artifacts", "export", chosen["digest"], "--format",
                                 "gptq", "--to", scratch / "out", "--store", scratch / "store"});
  EXPECT_EQ(finished.exit_code, 2);
  EXPECT_NE(finished.err.find("chosen for each linear"), std::string::npos) << finished.err;
  EXPECT_FALSE(fs::exists(scratch / "out"));
}

}  // namespace
}  // namespace quench::testing
