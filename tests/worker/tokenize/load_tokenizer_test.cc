// Which file of a model directory is read, what stands beside it, and SentencePiece models.
#include <gmock/gmock.h>

#include <random>

#include "tests/worker/tokenize/tokenizer_fixture.h"
#include "worker/tokenize/sentencepiece.h"
#include "worker/tokenize/utf8.h"

namespace quench::worker {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string load_error(const ScratchDir& dir) {
  return bad_input_message([&] { load_tokenizer(dir.path()); });
}

std::string sentencepiece_model() {
  std::ifstream in(vocabulary_dir("llama2-model") / "tokenizer.model", std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(LoadTokenizer, PrefersJsonToModel) {
  const ScratchDir dir;
  EXPECT_THAT(load_error(dir), HasSubstr("neither tokenizer.json nor tokenizer.model"));
  dir.write("tokenizer.model", sentencepiece_model());
  EXPECT_EQ(load_tokenizer(dir.path())->vocabulary_size(), 32000);
  dir.write("tokenizer.json", small_tokenizer().dump());
  EXPECT_EQ(load_tokenizer(dir.path())->vocabulary_size(), 11);
  EXPECT_THAT(bad_input_message([&] { load_tokenizer(dir.path() / "absent"); }),
              HasSubstr("no such directory"));
}

TEST(LoadTokenizer, NamesTheFileOfAMistake) {
  const ScratchDir dir;
  dir.write("tokenizer.json", "{");
  EXPECT_THAT(load_error(dir),
              AllOf(HasSubstr((dir.path() / "tokenizer.json").string()), HasSubstr("not JSON")));
  dir.write("tokenizer.json", small_tokenizer().dump());
  dir.write("tokenizer_config.json", R"({"bos_token": 3})");
  EXPECT_THAT(load_error(dir), AllOf(HasSubstr("tokenizer_config.json"), HasSubstr("/bos_token")));
  dir.write("tokenizer_config.json", R"({"bos_token": "<absent>"})");
  EXPECT_THAT(load_error(dir), HasSubstr("<absent>"));
}

TEST(LoadTokenizer, RefusesWhatIsNoRegularFile) {
  const ScratchDir dir;
  std::filesystem::create_directory(dir.path() / "tokenizer.json");
  EXPECT_THAT(load_error(dir), HasSubstr("not a regular file"));
}

TEST(LoadTokenizer, RefusesAFileThatIsTooLargeWithoutReadingIt) {
  const ScratchDir dir;
  dir.write("tokenizer.json", "");
  // Sparse: it takes no room.
  std::filesystem::resize_file(dir.path() / "tokenizer.json", kTokenizerFileBytesMax + 1);
  EXPECT_THAT(load_error(dir), AllOf(HasSubstr("268435457 bytes"), HasSubstr("at most 268435456")));
}

TEST(LoadTokenizer, TakesBeginAndEndFromTheFilesBeside) {
  const ScratchDir dir;
  dir.write("tokenizer.json", small_tokenizer().dump());
  EXPECT_EQ(load_tokenizer(dir.path())->bos_id(), std::nullopt);
  dir.write("config.json", R"({"bos_token_id": 10, "eos_token_id": [2, 3], "hidden_size": 64})");
  EXPECT_EQ(load_tokenizer(dir.path())->bos_id(), 10);
  EXPECT_EQ(load_tokenizer(dir.path())->eos_id(), 2);
  dir.write("generation_config.json", R"({"eos_token_id": 3, "bos_token_id": -1})");
  EXPECT_EQ(load_tokenizer(dir.path())->eos_id(), 3);
  dir.write("special_tokens_map.json", R"({"eos_token": {"content": "e", "lstrip": false}})");
  EXPECT_EQ(load_tokenizer(dir.path())->eos_id(), 4);
  dir.write("tokenizer_config.json", R"({"eos_token": "d", "chat_template": "…", "add_bos_token": true})");
  const auto tokenizer = load_tokenizer(dir.path());
  EXPECT_EQ(tokenizer->eos_id(), 3);
  EXPECT_THAT(tokenizer->encode("ab", AddSpecialTokens::yes), ElementsAre(10, 7));
  EXPECT_THAT(tokenizer->encode("ab", AddSpecialTokens::no), ElementsAre(7));
}

TEST(LoadTokenizer, SaysWhenItDoesNotFitTheModel) {
  const ScratchDir dir;
  dir.write("tokenizer.json", small_tokenizer().dump());
  const auto tokenizer = load_tokenizer(dir.path());
  EXPECT_NO_THROW(tokenizer->check_fits(11));
  EXPECT_NO_THROW(tokenizer->check_fits(64)) << "a padded vocabulary";
  EXPECT_THAT(
      bad_input_message([&] { tokenizer->check_fits(10); }),
      AllOf(HasSubstr("tokenizer.json"), HasSubstr("largest token id is 10"), HasSubstr("has 10 tokens")));
}

TEST(SentencePieceModel, FollowsLlamasConventions) {
  const auto tokenizer = load_tokenizer(vocabulary_dir("llama2-model"));
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  EXPECT_THAT(tokenizer->encode("Hello world", AddSpecialTokens::yes), ElementsAre(1, 15043, 3186));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{1, 15043, 3186, 2}, SkipSpecialTokens::yes),
            "Hello world");
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{1, 15043}, SkipSpecialTokens::no), "<s> Hello");
  EXPECT_EQ(tokenizer->decode_continuation(std::vector<TokenId>{3186}), " world");
  EXPECT_EQ(tokenizer->token_bytes(13), "\n") << "<0x0A>";
  EXPECT_EQ(tokenizer->id_of("▁world"), 3186);
  EXPECT_EQ(tokenizer->id_of("no such piece"), std::nullopt);
  EXPECT_TRUE(tokenizer->is_special(1));
  EXPECT_FALSE(tokenizer->is_special(13));
  // The name of a special token is text: a prompt cannot end itself.
  const auto ids = encode(*tokenizer, "</s>");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 2), 0);
  EXPECT_EQ(tokenizer->decode(ids, SkipSpecialTokens::yes), "</s>");
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{-1, 32000, 1 << 30}, SkipSpecialTokens::no), "");
}

// Two programs that share nothing but the vocabulary: libsentencepiece and our BPE with byte fallback.
TEST(SentencePieceModel, AgreesWithTheSameVocabularyInJson) {
  const auto model = load_tokenizer(vocabulary_dir("llama2-model"));
  const auto bpe = load_tokenizer(vocabulary_dir("llama-spm"));
  std::mt19937_64 random(20250101);
  const auto below = [&](std::uint64_t bound) { return random() % bound; };
  for (int i = 0; i < 3000; ++i) {
    std::string text;
    for (std::uint64_t left = below(60); left > 0; --left) {
      constexpr std::string_view kCommon = "  eetaoin\n\tshrd(){}=;:.,'\"019_";
      const std::uint64_t kind = below(10);
      const char32_t c = kind < 8   ? static_cast<char32_t>(kCommon[below(kCommon.size())])
                         : kind < 9 ? static_cast<char32_t>(1 + below(0x3000))
                                    : static_cast<char32_t>(0x10000 + below(0x100000));
      // ▁ itself is read as a space by both, so it does not come back.
      if (c != U'▁') utf8_append(text, c);
    }
    ASSERT_EQ(encode(*model, text), encode(*bpe, text)) << '"' << text << '"';
    ASSERT_EQ(model->decode(encode(*model, text), SkipSpecialTokens::yes), text);
  }
}

TEST(SentencePieceModel, RefusesWhatIsNone) {
  const ScratchDir dir;
  const std::string model = sentencepiece_model();
  for (const std::string& content :
       {std::string(), std::string("{}"), std::string(1000, '\0'), std::string("PK\3\4"),
        model.substr(0, model.size() / 2), model.substr(1)}) {
    dir.write("tokenizer.model", content);
    EXPECT_THAT(load_error(dir), HasSubstr("tokenizer.model"));
  }
}

TEST(Utf8, ReplacesEachMaximalIllFormedPart) {
  EXPECT_EQ(utf8_lossy("aé漢😀"), "aé漢😀");
  EXPECT_EQ(utf8_lossy("\xC3"), "\uFFFD");
  EXPECT_EQ(utf8_lossy("\xF0\x9F\x98"
                       "a"),
            "\uFFFDa");
  EXPECT_EQ(utf8_lossy("\xE2\x28\xA1"), "\uFFFD(\uFFFD");
  // Overlong, a surrogate, beyond U+10FFFF: no byte of them begins anything.
  EXPECT_EQ(utf8_lossy("\xC0\xAF"), "\uFFFD\uFFFD");
  EXPECT_EQ(utf8_lossy("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(utf8_lossy("\xF4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(utf8_valid_prefix("ab\xFFz"), 2u);
}

}  // namespace
}  // namespace quench::worker
