#include "worker/calibration/candidates.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace quench::worker {
namespace {

Document code(int repository, int number, std::size_t bytes = 100) {
  Document document;
  document.form = DocumentForm::python;
  document.repository = "repository " + std::to_string(repository);
  document.text = document.repository + " file " + std::to_string(number) + std::string(bytes, 'x');
  return document;
}

std::vector<std::string> texts(const Candidates& candidates) {
  std::vector<std::string> all;
  for (const auto& [key, document] : candidates.in_order()) all.push_back(document.text);
  return all;
}

std::vector<std::string> kept(std::vector<Document> documents, std::uint64_t seed, CandidateLimits limits,
                              Tally& tally) {
  Candidates candidates(seed, limits);
  for (Document& document : documents) candidates.add(std::move(document), tally);
  return texts(candidates);
}

TEST(CalibrationCandidates, OrderDependsOnSeedAndContentAlone) {
  std::vector<Document> documents;
  for (int i = 0; i < 60; ++i) documents.push_back(code(i % 10, i));
  Tally tally;
  const auto first = kept(documents, 1, {}, tally);
  EXPECT_EQ(first.size(), 60u);
  std::shuffle(documents.begin(), documents.end(), std::mt19937(3));
  EXPECT_EQ(kept(documents, 1, {}, tally), first);
  EXPECT_NE(kept(documents, 2, {}, tally), first);
}

TEST(CalibrationCandidates, AFewFilesOfEachRepositoryAreKept) {
  std::vector<Document> documents;
  for (int i = 0; i < 50; ++i) documents.push_back(code(0, i));
  documents.push_back(code(1, 0));
  Tally tally;
  const CandidateLimits limits{1 << 20, 4};
  const auto first = kept(documents, 1, limits, tally);
  EXPECT_EQ(first.size(), 5u);
  EXPECT_EQ(tally.count(Reason::same_repository), 46u);
  std::reverse(documents.begin(), documents.end());
  EXPECT_EQ(kept(documents, 1, limits, tally), first) << "whichever came first";
}

// What is over the limit is the end of the order, not what came last.
TEST(CalibrationCandidates, MemoryIsBoundedAndTheRestDoesNotDependOnOrder) {
  std::vector<Document> documents;
  for (int i = 0; i < 200; ++i) documents.push_back(code(i, 0, 1000 + static_cast<std::size_t>(i) * 7));
  Tally whole_tally, tally;
  const auto whole = kept(documents, 5, {}, whole_tally);
  const CandidateLimits limits{40'000, 16};
  const auto first = kept(documents, 5, limits, tally);
  ASSERT_GT(first.size(), 5u);
  ASSERT_LT(first.size(), 100u);
  EXPECT_EQ(tally.count(Reason::beyond_memory), 200 - first.size());
  EXPECT_TRUE(std::equal(first.begin(), first.end(), whole.begin())) << "the first of the whole order";
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::shuffle(documents.begin(), documents.end(), std::mt19937(seed));
    EXPECT_EQ(kept(documents, 5, limits, tally), first);
  }
}

TEST(CalibrationCandidates, OneTextTwiceIsOneDocument) {
  Tally tally;
  EXPECT_EQ(kept({code(0, 0), code(0, 0)}, 1, {}, tally).size(), 1u);
  EXPECT_EQ(tally.count(Reason::near_duplicate), 1u);
}

}  // namespace
}  // namespace quench::worker
