// Real vocabularies against published ids: llama.cpp's pairs of texts and ids, which its authors made with
// each model's own tokenizer.
#include <gmock/gmock.h>

#include <sstream>

#include "tests/worker/tokenize/tokenizer_fixture.h"

namespace quench::worker {
namespace {

using ::testing::ElementsAre;

struct Case {
  std::string text;
  std::vector<TokenId> ids;
};

std::vector<Case> read_cases(const std::filesystem::path& dir) {
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::ifstream texts(dir / "cases.inp", std::ios::binary);
  std::string all{std::istreambuf_iterator<char>(texts), {}};
  std::vector<Case> cases;
  for (std::size_t at = 0; at != std::string::npos;) {
    const std::size_t end = all.find(separator, at);
    cases.push_back({all.substr(at, end == std::string::npos ? end : end - at), {}});
    at = end == std::string::npos ? end : end + separator.size();
  }
  cases.pop_back();  // what follows the last separator: nothing
  std::ifstream ids(dir / "cases.out");
  std::string line;
  for (Case& one : cases) {
    EXPECT_TRUE(std::getline(ids, line));
    std::istringstream words(line);
    for (TokenId id; words >> id;) one.ids.push_back(id);
  }
  return cases;
}

class Vocabularies : public ::testing::TestWithParam<const char*> {};

TEST_P(Vocabularies, GiveThePublishedIdsAndTheTextBack) {
  // GPT-2's own file is tested with the cases for the vocabulary in GGUF, which is the same.
  const auto tokenizer = load_tokenizer(vocabulary_dir(GetParam()));
  const auto cases = read_cases(vocabulary_dir(GetParam()));
  ASSERT_EQ(cases.size(), 46u);
  for (const Case& one : cases) {
    EXPECT_EQ(encode(*tokenizer, one.text), one.ids) << '"' << one.text << '"';
    EXPECT_EQ(tokenizer->decode(one.ids, SkipSpecialTokens::no), one.text);
  }
}

TEST_P(Vocabularies, TokenBytesMakeUpTheText) {
  const auto tokenizer = load_tokenizer(vocabulary_dir(GetParam()));
  for (const Case& one : read_cases(vocabulary_dir(GetParam()))) {
    std::string bytes;
    for (const TokenId id : one.ids) bytes += tokenizer->token_bytes(id);
    const bool dummy_prefix = std::string(GetParam()).starts_with("llama") && !one.text.empty();
    EXPECT_EQ(bytes, dummy_prefix ? " " + one.text : one.text);
    EXPECT_EQ(tokenizer->decode_continuation(one.ids), bytes);
  }
}

INSTANTIATE_TEST_SUITE_P(, Vocabularies,
                         ::testing::Values("deepseek-coder", "deepseek-llm", "gpt2", "llama-spm",
                                           "llama2-model", "refact", "starcoder"),
                         [](const auto& instance) {
                           std::string name = instance.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

TEST(Vocabulary, DeepSeekCoderPutsItsOwnBeginAndKnowsItsSpecialTokens) {
  const auto tokenizer = load_tokenizer(vocabulary_dir("deepseek-coder"));
  EXPECT_EQ(tokenizer->bos_id(), 32013);
  EXPECT_EQ(tokenizer->eos_id(), 32014);
  EXPECT_EQ(tokenizer->vocabulary_size(), 32022);
  EXPECT_THAT(tokenizer->encode("Hello world", AddSpecialTokens::yes), ElementsAre(32013, 17535, 1835));
  EXPECT_THAT(encode(*tokenizer, "<|EOT|>"), ElementsAre(32021));
  EXPECT_TRUE(tokenizer->is_special(32013));
  EXPECT_FALSE(tokenizer->is_special(32009)) << "the added letter ü is text";
  EXPECT_EQ(tokenizer->token_bytes(32009), "ü");
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{32013, 17535, 32100, -1, 1 << 30}, SkipSpecialTokens::yes),
            "Hello")
      << "ids without a token give nothing";
}

TEST(Vocabulary, WizardCoderSplitsDigitsAndTakesItsAddedPad) {
  const auto tokenizer = load_tokenizer(vocabulary_dir("wizardcoder"));
  EXPECT_EQ(tokenizer->vocabulary_size(), 49153);
  EXPECT_EQ(tokenizer->id_of("[PAD]"), 49152);
  EXPECT_EQ(tokenizer->eos_id(), 0);
  EXPECT_EQ(encode(*tokenizer, "12345").size(), 5u);
  EXPECT_THAT(encode(*tokenizer, "<fim_prefix>[PAD]"), ElementsAre(1, 49152));
}

// A megabyte without a space is one word of a million symbols: a merge that looks for the best pair again
// after each merge would take hours.
TEST(Vocabulary, MergesAMegabyteWithoutASpaceInSeconds) {
  for (const char* name : {"llama-spm", "starcoder"}) {
    const auto tokenizer = load_tokenizer(vocabulary_dir(name));
    std::string text;
    for (std::size_t i = 0; text.size() < 1'000'000; ++i) text += static_cast<char>('a' + i * i % 26);
    const auto start = std::chrono::steady_clock::now();
    const auto ids = encode(*tokenizer, text);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20)) << name;
    EXPECT_EQ(tokenizer->decode(ids, SkipSpecialTokens::no), text) << name;
  }
}

}  // namespace
}  // namespace quench::worker
