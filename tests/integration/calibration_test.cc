// Calibration sets, through the whole program: built from a corpus, used by a job on any number of ranks,
// named in the artifacts' manifests, moved between stores.
#include <gtest/gtest.h>

#include "tests/integration/small_job.h"
#include "tests/worker/calibration/corpus.h"

namespace quench::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

fs::path write_corpus(const ScratchDirectory& scratch) {
  const fs::path root = scratch / "corpus";
  write_repositories(root / "code", 8, 100);
  write_text(root / "Posts.xml", dump_of_questions(40, 300));
  return root;
}

std::vector<std::string> build_arguments(const ScratchDirectory& scratch, const std::string& kind,
                                         const std::vector<std::string>& more = {},
                                         const std::string& store = "store") {
  std::vector<std::string> arguments{quench_program(),
                                     "calibration",
                                     "build",
                                     "--kind",
                                     kind,
                                     "--from",
                                     (scratch / "corpus").string(),
                                     "--tokenizer",
                                     fixture("stories260k").string(),
                                     "--sequences",
                                     "8",
                                     "--length",
                                     "40",
                                     "--store",
                                     (scratch / store).string(),
                                     "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

json succeeded(const std::vector<std::string>& arguments) {
  const Finished finished = run(arguments);
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  const json out = json::parse(finished.out, nullptr, false);
  EXPECT_FALSE(out.is_discarded()) << finished.out;
  return out;
}

json job_with(const json& calibration) {
  json job = small_job();
  job["quantize"] = {{{"method", "gptq"}, {"bits", 3}, {"groupSize", 32}}, {{"method", "int8"}}};
  job["calibration"] = calibration;
  return job;
}

Finished run_job(const ScratchDirectory& scratch, const json& calibration, const std::string& store,
                 int ranks) {
  write_text(scratch / "job.json", job_with(calibration).dump());
  return run(run_arguments(scratch / "job.json", scratch / store, ranks));
}

// The manifest; what a store knows beside it differs.
json show(const ScratchDirectory& scratch, const std::string& store, const std::string& ref) {
  json shown = succeeded({quench_program(), "artifacts", "show", ref, "--store", scratch / store, "--json"});
  EXPECT_EQ(shown.erase("known"), 1u);
  return shown;
}

TEST(CalibrationSets, FromSourcesToTheManifestOfAnArtifact) {
  const ScratchDirectory scratch;
  write_corpus(scratch);
  const json set = succeeded(build_arguments(scratch, "mixed", {"--name", "sets/mixed"}));
  EXPECT_EQ(set["calibration"], "mixed");
  EXPECT_EQ(set["sequences"], 8);
  EXPECT_EQ(set["licences"]["MIT"], 4);
  EXPECT_GE(set["licences"]["CC BY-SA 4.0"], 4);
  const std::string digest = set["digest"];

  const Finished by_name = run_job(scratch, {{"set", "sets/mixed"}}, "store", 1);
  ASSERT_EQ(by_name.exit_code, 0) << by_name.err;
  const json manifest = show(scratch, "store", "small/gptq-3bit-g32-sym");
  EXPECT_EQ(manifest["calibration_set"], digest);
  EXPECT_EQ(manifest["calibration"], set["windows"]) << "all of the set was used";
  EXPECT_FALSE(manifest.contains("set"));
  EXPECT_EQ(show(scratch, "store", "small/int8")["calibration_set"], nullptr) << "int8 calibrates on nothing";
  const Finished told =
      run({quench_program(), "artifacts", "show", "small/gptq-3bit-g32-sym", "--store", scratch / "store"});
  EXPECT_NE(told.out.find(digest + "  sets/mixed"), std::string::npos) << told.out;

  // The same job again finds its work; asked for by kind it is the same set, so the same artifact.
  const Finished again = run_job(scratch, {{"set", digest}}, "store", 2);
  EXPECT_NE(again.err.find("nothing to run"), std::string::npos) << again.err;
  const Finished by_kind =
      run_job(scratch, {{"kind", "mixed"}, {"sequences", 8}, {"length", 40}}, "store", 2);
  EXPECT_EQ(digests_of(by_kind), digests_of(by_name));
  const Finished part = run_job(scratch, {{"set", "sets/mixed"}, {"sequences", 4}}, "store", 1);
  ASSERT_EQ(part.exit_code, 0) << part.err;
  EXPECT_NE(digests_of(part), digests_of(by_name));
}

TEST(CalibrationSets, GiveTheSameBytesOnAnyNumberOfRanks) {
  const ScratchDirectory scratch;
  write_corpus(scratch);
  std::vector<std::string> expected;
  for (const int ranks : {1, 3}) {
    const std::string store = "store" + std::to_string(ranks);
    const json set = succeeded(build_arguments(scratch, "code", {"--name", "code"}, store));
    const Finished finished = run_job(scratch, {{"set", "code"}}, store, ranks);
    ASSERT_EQ(finished.exit_code, 0) << finished.err;
    std::vector<std::string> found = digests_of(finished);
    found.push_back(set["digest"]);
    if (expected.empty()) expected = found;
    EXPECT_EQ(found, expected);
  }
}

TEST(CalibrationSets, MoveBetweenStoresAloneAndWithArtifacts) {
  const ScratchDirectory scratch;
  write_corpus(scratch);
  const json set = succeeded(build_arguments(scratch, "code", {"--name", "sets/code"}));
  ASSERT_EQ(run_job(scratch, {{"set", "sets/code"}}, "store", 1).exit_code, 0);
  const auto artifacts = [&](std::vector<std::string> words) {
    words.insert(words.begin(), {quench_program(), "artifacts"});
    return words;
  };
  const json alone = succeeded(
      artifacts({"push", "sets/code", "--to", scratch / "other", "--store", scratch / "store", "--json"}));
  EXPECT_EQ(alone["digest"], set["digest"]);
  EXPECT_EQ(alone["chunks_copied"], alone["chunks"]);
  // The other lab quantizes with it.
  const Finished there = run_job(scratch, {{"set", "sets/code"}}, "other", 1);
  ASSERT_EQ(there.exit_code, 0) << there.err;
  EXPECT_EQ(show(scratch, "other", "small/gptq-3bit-g32-sym"),
            show(scratch, "store", "small/gptq-3bit-g32-sym"));

  // An artifact brings its set along; what is there already is not copied again.
  const std::string ref = "small/gptq-3bit-g32-sym";
  succeeded(
      artifacts({"push", "small/int8", "--to", scratch / "third", "--store", scratch / "store", "--json"}));
  const json pulled = succeeded(artifacts({"pull", ref, "--from", scratch / "store", "--store",
                                           scratch / "third", "--as", "lab/model:3bit", "--json"}));
  EXPECT_LT(pulled["chunks_copied"].get<int>(), pulled["chunks"].get<int>());
  EXPECT_EQ(show(scratch, "third", "lab/model:3bit"), show(scratch, "store", ref));
  const json sets =
      succeeded({quench_program(), "calibration", "ls", "--store", scratch / "third", "--json"});
  ASSERT_EQ(sets.size(), 1u);
  EXPECT_EQ(sets[0]["name"], "sets/code");
  EXPECT_EQ(sets[0]["digest"], set["digest"]);
  EXPECT_EQ(run({quench_program(), "artifacts", "verify", "--store", scratch / "third"}).exit_code, 0);

  // Nobody's name is taken away.
  const Finished taken = run(artifacts({"push", "small/int8", "--as", "lab/model:3bit", "--to",
                                        scratch / "third", "--store", scratch / "store"}));
  EXPECT_EQ(taken.exit_code, 2);
  EXPECT_NE(taken.err.find("the name lab/model:3bit is taken"), std::string::npos) << taken.err;
  const Finished missing =
      run(artifacts({"pull", "sets/other", "--from", scratch / "store", "--store", scratch / "third"}));
  EXPECT_EQ(missing.exit_code, 2);
  EXPECT_FALSE(fs::exists(scratch / "nowhere"));
  EXPECT_EQ(run(artifacts({"pull", "sets/code", "--from", scratch / "nowhere", "--store", scratch / "third"}))
                .exit_code,
            2);
  EXPECT_FALSE(fs::exists(scratch / "nowhere")) << "looking for a store makes none";
}

TEST(CalibrationSets, AreMadeTheSameTwiceAndShown) {
  const ScratchDirectory scratch;
  write_corpus(scratch);
  const json first = succeeded(build_arguments(scratch, "code"));
  EXPECT_EQ(succeeded(build_arguments(scratch, "code")), first);
  EXPECT_NE(succeeded(build_arguments(scratch, "code", {"--seed", "1"}))["digest"], first["digest"]);
  const json sets =
      succeeded({quench_program(), "calibration", "ls", "--store", scratch / "store", "--json"});
  ASSERT_EQ(sets.size(), 2u);
  EXPECT_EQ(sets[0]["name"], "calibration/stories260k-code-8x40-seed0");
  const Finished documents =
      run({quench_program(), "calibration", "show", "calibration/stories260k-code-8x40-seed0", "--documents",
           "--store", scratch / "store"});
  EXPECT_EQ(std::count(documents.out.begin(), documents.out.end(), '\n'), 8);
  EXPECT_NE(documents.out.find("\"licence\":\"MIT\""), std::string::npos) << documents.out;
  const Finished list = run({quench_program(), "artifacts", "ls", "--store", scratch / "store"});
  EXPECT_NE(list.out.find("calibration/stories260k-code-8x40-seed0"), std::string::npos) << list.out;
}

struct Refused {
  std::string name;
  std::vector<std::string> arguments;  // added to those of a build
  std::vector<std::string> told;
};

TEST(CalibrationSets, WhatCannotBeMadeIsToldAndLeavesNothing) {
  const ScratchDirectory scratch;
  write_corpus(scratch);
  fs::create_directories(scratch / "empty");
  fs::create_directories(scratch / "binary");
  write_text(scratch / "binary" / "a.py", std::string("\0\1\2", 3));
  write_text(
      scratch / "leak.jsonl",
      R"({"text": "def has_close_elements(numbers: List[float], threshold: float) -> bool: Check if in given list of numbers, are any two numbers closer to each other than given threshold."})");
  const std::vector<Refused> cases = {
      {"TooMany", {"--kind", "code", "--sequences", "100"}, {"needs 50 sequences", "the sources give 8"}},
      {"TooLong", {"--kind", "code", "--length", "100000"}, {"shorter than a sequence"}},
      {"Empty", {"--kind", "random", "--from", scratch / "empty"}, {"0 documents read"}},
      {"Binary", {"--kind", "code", "--from", scratch / "binary"}, {"1 binary"}},
      {"Leak",
       {"--kind", "random", "--sequences", "1", "--length", "8", "--from", scratch / "leak.jsonl"},
       {"1 holds a benchmark's text"}},
      {"Nowhere", {"--kind", "code", "--from", scratch / "nowhere"}, {"nowhere", "does not exist"}},
      {"NoTokenizer", {"--kind", "code", "--tokenizer", scratch / "empty"}, {"tokenizer.json"}},
      {"NoModel",
       {"--kind", "code", "--tokenizer", scratch / "nowhere"},
       {"is not the directory of a model"}},
      {"BadName", {"--kind", "code", "--name", "../x"}, {"--name"}},
      {"OtherKind", {"--kind", "best"}, {"--kind"}},
  };
  for (const Refused& one : cases) {
    std::vector<std::string> arguments{quench_program(), "calibration", "build", "--store",
                                       scratch / "store"};
    const auto has = [&](const char* option) {
      return std::find(one.arguments.begin(), one.arguments.end(), option) != one.arguments.end();
    };
    if (!has("--from")) arguments.insert(arguments.end(), {"--from", scratch / "corpus"});
    if (!has("--tokenizer")) arguments.insert(arguments.end(), {"--tokenizer", fixture("stories260k")});
    if (!has("--sequences")) arguments.insert(arguments.end(), {"--sequences", "8"});
    if (!has("--length")) arguments.insert(arguments.end(), {"--length", "40"});
    arguments.insert(arguments.end(), one.arguments.begin(), one.arguments.end());
    const Finished finished = run(arguments);
    EXPECT_EQ(finished.exit_code, 2) << one.name << ": " << finished.err;
    for (const std::string& text : one.told)
      EXPECT_NE(finished.err.find(text), std::string::npos) << one.name << ": " << finished.err;
  }
  EXPECT_FALSE(fs::exists(scratch / "store")) << "nothing was there to be kept";
}

TEST(CalibrationSets, AJobThatNamesAWrongOneIsRefused) {
  const ScratchDirectory scratch;
  write_corpus(scratch);
  succeeded(build_arguments(scratch, "code", {"--name", "sets/code"}));
  write_text(
      scratch / "plain.json",
      job_with({{"files", {fixture("calibration_python.txt").string()}}, {"sequences", 4}, {"length", 32}})
          .dump());
  ASSERT_EQ(run(run_arguments(scratch / "plain.json", scratch / "store", 1)).exit_code, 0);
  const std::vector<std::pair<json, std::string>> cases = {
      {{{"set", "sets/none"}}, "sets/none"},
      {{{"set", "small/int8"}}, "is not a calibration set"},
      {{{"set", "sets/code"}, {"sequences", 9}}, "has 8 sequences of 40 tokens; the job asks for 9"},
      {{{"set", "sets/code"}, {"seed", 1}}, "was made with the seed 0, not 1"},
      {{{"set", "sets/code"}, {"kind", "mixed"}}, "is of the kind code, not mixed"},
      {{{"set", "sets/code"}, {"files", {"a.txt"}}}, "/calibration/files"},
      {{{"kind", "mixed"}, {"sequences", 8}, {"length", 40}}, "quench calibration build --kind mixed"},
  };
  for (const auto& [calibration, told] : cases) {
    const Finished finished = run_job(scratch, calibration, "store", 1);
    EXPECT_EQ(finished.exit_code, 2) << told << ": " << finished.err;
    EXPECT_NE(finished.err.find(told), std::string::npos) << finished.err;
  }
  // A model with another tokenizer.
  json job = job_with({{"set", "sets/code"}});
  job["model"] = fixture("tiny_coder").string();
  write_text(scratch / "other.json", job.dump());
  const Finished other = run(run_arguments(scratch / "other.json", scratch / "store", 1));
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_NE(other.err.find("another tokenizer"), std::string::npos) << other.err;
  // A set is no model.
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"generate", "sets/code", "--prompt", "a"},
        {"report", "sets/code"},
        {"artifacts", "export", "sets/code", "--format", "gptq", "--to", scratch / "out"}}) {
    std::vector<std::string> arguments{quench_program()};
    arguments.insert(arguments.end(), words.begin(), words.end());
    arguments.insert(arguments.end(), {"--store", scratch / "store"});
    const Finished finished = run(arguments);
    EXPECT_EQ(finished.exit_code, 2) << words[0];
    EXPECT_NE(finished.err.find("is a calibration set, not a model"), std::string::npos) << finished.err;
  }
}

}  // namespace
}  // namespace quench::testing
