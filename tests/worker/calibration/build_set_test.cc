#include "worker/calibration/build_set.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "schemas/codec.h"
#include "schemas/error.h"
#include "tests/worker/calibration/corpus.h"
#include "worker/calibration/load_set.h"
#include "worker/evaluate/problems.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;
using testing::fixture;
using testing::ScratchDirectory;
using testing::WordSource;
using testing::write_text;

const Tokenizer& tokenizer() {
  static const std::unique_ptr<Tokenizer> loaded = load_tokenizer(fixture("stories260k"));
  return *loaded;
}

SetOptions options_of(CalibrationKind kind, const fs::path& from, std::uint32_t sequences,
                      std::uint32_t length) {
  SetOptions options;
  options.kind = kind;
  options.sequences = sequences;
  options.length = length;
  options.sources.from = {from};
  return options;
}

BuiltSet build(const SetOptions& options) {
  return build_set(options, tokenizer(), [](const std::string&) {});
}

std::string error_of(const SetOptions& options) {
  try {
    build(options);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    return error.what();
  }
  ADD_FAILURE() << "a set was made";
  return {};
}

std::vector<nlohmann::json> lines_of(const BuiltSet& set) {
  std::vector<nlohmann::json> lines;
  std::istringstream in(set.documents);
  for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

std::uint64_t left_out(const BuiltSet& set, Reason reason) {
  for (const LeftOut& one : set.record.left_out)
    if (one.reason == to_string(reason)) return one.documents;
  return 0;
}

// Prose, repositories and questions, enough for a small set of any kind.
fs::path write_corpus(const ScratchDirectory& scratch, const std::string& name = "corpus") {
  const fs::path root = scratch / name;
  testing::write_repositories(root / "code", 10, 100);
  fs::create_directories(root / "text");
  for (std::uint32_t i = 0; i < 10; ++i)
    write_text(root / "text" / ("page" + std::to_string(i) + ".txt"), WordSource(200 + i).prose(150));
  write_text(root / "Posts.xml", testing::dump_of_questions(30, 300));
  return root;
}

TEST(CalibrationSet, OfCodeIsHalfPythonHalfJavaOneFileOfARepository) {
  const ScratchDirectory scratch;
  const BuiltSet set = build(options_of(CalibrationKind::code, write_corpus(scratch), 9, 64));
  ASSERT_EQ(set.sequences.size(), 9u);
  std::map<std::string, int> forms;
  std::set<std::string> repositories;
  const auto lines = lines_of(set);
  ASSERT_EQ(lines.size(), 9u);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i]["sequence"], i);
    EXPECT_EQ(lines[i]["licence"], "MIT");
    const std::string form = lines[i]["form"];
    ++forms[form];
    EXPECT_TRUE(repositories.insert(form + lines[i]["repository"].get<std::string>()).second)
        << "twice from one repository";
    // The first tokens of the file that it names.
    const std::string text = testing::read_text(scratch / lines[i]["origin"].get<std::string>());
    EXPECT_EQ(lines[i]["sha256"], sha256(text).hex());
    std::vector<TokenId> ids = tokenizer().encode(text, AddSpecialTokens::no);
    ids.resize(64);
    EXPECT_EQ(set.sequences[i], ids);
  }
  EXPECT_EQ(forms, (std::map<std::string, int>{{"java", 4}, {"python", 5}}));
  EXPECT_EQ(left_out(set, Reason::unwanted), 40u) << "prose and questions";
}

TEST(CalibrationSet, OfRandomTextHasAWindowOfEachDocument) {
  const ScratchDirectory scratch;
  const BuiltSet set = build(options_of(CalibrationKind::random, write_corpus(scratch), 10, 64));
  int at_start = 0;
  std::set<std::string> origins;
  for (const auto& line : lines_of(set)) {
    EXPECT_EQ(line["form"], "prose");
    EXPECT_TRUE(origins.insert(line["origin"]).second);
    const auto ids = tokenizer().encode(testing::read_text(scratch / line["origin"].get<std::string>()),
                                        AddSpecialTokens::no);
    const auto& sequence = set.sequences[line["sequence"].get<std::size_t>()];
    const auto found = std::search(ids.begin(), ids.end(), sequence.begin(), sequence.end());
    EXPECT_NE(found, ids.end());
    at_start += found == ids.begin();
  }
  EXPECT_LT(at_start, 5) << "windows begin anywhere";
}

TEST(CalibrationSet, MixedIsHalfQuestionsThatFollowEachOther) {
  const ScratchDirectory scratch;
  const BuiltSet set = build(options_of(CalibrationKind::mixed, write_corpus(scratch), 8, 300));
  std::map<std::string, std::set<std::size_t>> sequences;
  std::map<std::size_t, std::uint64_t> tokens;
  int questions = 0;
  for (const auto& line : lines_of(set)) {
    const auto index = line["sequence"].get<std::size_t>();
    sequences[line["form"]].insert(index);
    if (line["form"] != "question") continue;
    ++questions;
    EXPECT_EQ(line["licence"], "CC BY-SA 4.0");
    // Behind the question before, and its end-of-text token.
    EXPECT_EQ(line["first_token"], tokens[index]);
    tokens[index] += line["tokens"].get<std::uint64_t>();
    if (tokens[index] < 300) {
      EXPECT_EQ(set.sequences[index][tokens[index]], tokenizer().eos_id().value());
    }
    ++tokens[index];
  }
  EXPECT_EQ(sequences["question"].size(), 4u);
  EXPECT_EQ(sequences["python"].size(), 2u);
  EXPECT_EQ(sequences["java"].size(), 2u);
  EXPECT_GT(questions, 4) << "questions are shorter than the sequences";
}

TEST(CalibrationSet, DependsOnContentAndSeedAndNotOnPlaces) {
  const ScratchDirectory scratch, elsewhere;
  SetOptions options = options_of(CalibrationKind::mixed, write_corpus(scratch), 8, 64);
  const BuiltSet first = build(options);
  const auto digest_of = [](const BuiltSet& set) {
    return manifest_digest(set_manifest(set, [](const ChunkRef&, std::span<const std::uint8_t>) {}));
  };
  EXPECT_EQ(digest_of(build(options)), digest_of(first));
  options.sources.from = {write_corpus(elsewhere)};
  EXPECT_EQ(digest_of(build(options)), digest_of(first)) << "where a corpus lies is not what it is";
  options.seed = 1;
  EXPECT_NE(build(options).record.windows, first.record.windows);
}

TEST(CalibrationSet, LeavesBenchmarksOutAndCountsThem) {
  const ScratchDirectory scratch;
  const fs::path root = scratch / "code";
  testing::write_repositories(root, 6, 1);
  const ProblemSet problems = shipped_problems(Benchmark::humaneval);
  for (int i = 0; i < 3; ++i) {
    const Problem& problem = problems.problems()[static_cast<std::size_t>(i) * 20];
    const fs::path file = root / ("repo" + std::to_string(i)) / "src" / "main.py";
    write_text(file, testing::read_text(file) + "\n\n" + problem.prompt + problem.canonical_solution);
  }
  const BuiltSet set = build(options_of(CalibrationKind::code, root, 6, 64));
  EXPECT_EQ(left_out(set, Reason::benchmark), 3u);
  for (const auto& line : lines_of(set))
    if (line["form"] == "python") {
      EXPECT_GE(line["repository"].get<std::string>(), "code/repo3");
    }
  const std::string error = error_of(options_of(CalibrationKind::code, root, 8, 64));
  EXPECT_NE(error.find("3 holds a benchmark's text"), std::string::npos) << error;
}

TEST(CalibrationSet, TakesOneOfNearDuplicates) {
  const ScratchDirectory scratch;
  const fs::path root = scratch / "code";
  testing::write_repositories(root, 5, 1);
  for (int i = 1; i < 5; ++i)
    write_text(
        root / ("repo" + std::to_string(i)) / "src" / "main.py",
        testing::read_text(root / "repo0" / "src" / "main.py") + "\n# copy " + std::to_string(i) + "\n");
  const BuiltSet set = build(options_of(CalibrationKind::code, root, 2, 64));
  EXPECT_EQ(set.sequences.size(), 2u);
  const std::string error = error_of(options_of(CalibrationKind::code, root, 4, 64));
  EXPECT_NE(error.find("4 near duplicate"), std::string::npos) << error;
}

TEST(CalibrationSet, TakesMoreFilesOfARepositoryWhenAllowed) {
  const ScratchDirectory scratch;
  const fs::path root = scratch / "code";
  testing::write_repositories(root, 1, 1);
  for (std::uint32_t i = 0; i < 3; ++i) {
    write_text(root / "repo0" / ("more" + std::to_string(i) + ".py"), WordSource(50 + i).python(12));
    write_text(root / "repo0" / ("More" + std::to_string(i) + ".java"), WordSource(60 + i).java(12));
  }
  SetOptions options = options_of(CalibrationKind::code, root, 8, 64);
  const std::string error = error_of(options);
  EXPECT_NE(error.find("needs 4 sequences of 64 tokens from Python files; the sources give 1"),
            std::string::npos)
      << error;
  EXPECT_NE(error.find("--files-per-repository"), std::string::npos) << error;
  options.files_per_repository = 4;
  EXPECT_EQ(build(options).sequences.size(), 8u);
}

TEST(CalibrationSet, TellsWhatIsMissing) {
  const ScratchDirectory scratch;
  fs::create_directories(scratch / "empty");
  EXPECT_NE(error_of(options_of(CalibrationKind::random, scratch / "empty", 1, 8)).find("0 documents read"),
            std::string::npos);
  write_text(scratch / "one.txt", WordSource(1).prose(100));
  EXPECT_NE(error_of(options_of(CalibrationKind::random, scratch / "one.txt", 2, 64))
                .find("the sources give 1 (1 prose documents"),
            std::string::npos);
  EXPECT_NE(error_of(options_of(CalibrationKind::random, scratch / "one.txt", 1, 4096))
                .find("1 shorter than a sequence"),
            std::string::npos);
  EXPECT_NE(error_of(options_of(CalibrationKind::code, scratch / "one.txt", 2, 8))
                .find("1 not what this kind of set takes"),
            std::string::npos);
  EXPECT_NE(error_of(options_of(CalibrationKind::mixed, scratch / "one.txt", 3, 8)).find("at least 4"),
            std::string::npos);
  fs::create_directories(scratch / "binary");
  write_text(scratch / "binary" / "a.py", std::string("\0\0\0", 3));
  write_text(scratch / "binary" / "b.so", std::string("\x7f"
                                                      "ELF\0",
                                                      5));
  EXPECT_NE(error_of(options_of(CalibrationKind::code, scratch / "binary", 2, 8)).find("2 binary"),
            std::string::npos);
}

class LoadedSet : public ::testing::Test {
 protected:
  LoadedSet() {
    built_ = build(options_of(CalibrationKind::code, write_corpus(scratch_), 6, 64));
    manifest_ = set_manifest(built_, [&](const ChunkRef& chunk, std::span<const std::uint8_t> bytes) {
      chunks_[chunk.digest] = {bytes.begin(), bytes.end()};
    });
  }
  CalibrationSet load(std::uint32_t sequences, std::uint32_t length, const Tokenizer& with = tokenizer()) {
    CalibrationSpec spec;
    spec.set = "the set";
    spec.sequences = sequences;
    spec.length = length;
    return load_set(manifest_, spec, with, [&](const ChunkRef& chunk) { return chunks_.at(chunk.digest); });
  }

  ScratchDirectory scratch_;
  BuiltSet built_;
  Manifest manifest_;
  std::map<Digest, std::vector<std::uint8_t>> chunks_;
};

TEST_F(LoadedSet, IsWhatWasBuilt) {
  const CalibrationSet set = load(6, 64);
  EXPECT_EQ(set.sequences, built_.sequences);
  EXPECT_EQ(set.digest, built_.record.windows);
  const CalibrationSet part = load(2, 16);
  ASSERT_EQ(part.sequences.size(), 2u);
  EXPECT_EQ(part.sequences[1],
            std::vector<TokenId>(built_.sequences[1].begin(), built_.sequences[1].begin() + 16));
  EXPECT_NE(part.digest, set.digest);
  EXPECT_EQ(decode_manifest(encode(manifest_)), manifest_);
}

TEST_F(LoadedSet, RefusesWhatDoesNotFit) {
  const auto code_of = [&](auto&& body) {
    try {
      body();
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::internal;
  };
  EXPECT_EQ(code_of([&] { load(7, 64); }), ErrorCode::bad_input);
  EXPECT_EQ(code_of([&] { load(6, 65); }), ErrorCode::bad_input);
  const auto other = load_tokenizer(fixture("tiny_coder"));
  EXPECT_EQ(code_of([&] { load(6, 64, *other); }), ErrorCode::bad_input);
  Manifest changed = manifest_;
  changed.set->sequences = 7;
  EXPECT_EQ(code_of([&] { require_set(changed, "the set"); }), ErrorCode::corrupt);
  changed = manifest_;
  changed.set->windows.bytes[0] ^= 1;
  std::swap(changed, manifest_);
  EXPECT_EQ(code_of([&] { load(6, 64); }), ErrorCode::corrupt);
  EXPECT_EQ(code_of([&] { require_model(manifest_, "the set"); }), ErrorCode::bad_input);
  EXPECT_EQ(code_of([&] { require_set(Manifest{}, "a model"); }), ErrorCode::bad_input);
}

}  // namespace
}  // namespace quench::worker
