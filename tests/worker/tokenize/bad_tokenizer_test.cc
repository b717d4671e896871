// Tokenizer files are hostile: each mistake is one clear error that names the place, and nothing that we
// do not know is ignored.
#include <gmock/gmock.h>

#include <chrono>
#include <utility>

#include "tests/worker/tokenize/tokenizer_fixture.h"

namespace quench::worker {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

struct Mistake {
  const char* name;
  const char* pointer;  // where it is put
  const char* value;    // what is put there (JSON)
  const char* place;    // what the error says
  const char* reason;
};

class BadTokenizer : public ::testing::TestWithParam<Mistake> {};

TEST_P(BadTokenizer, IsRefusedByPlaceAndReason) {
  json document = small_tokenizer();
  document[json::json_pointer(GetParam().pointer)] = json::parse(GetParam().value);
  const std::string message = bad_input_message([&] { make_tokenizer(document); });
  EXPECT_THAT(message,
              AllOf(HasSubstr("tokenizer.json"), HasSubstr(GetParam().place), HasSubstr(GetParam().reason)));
}

INSTANTIATE_TEST_SUITE_P(
    , BadTokenizer,
    ::testing::Values(
        Mistake{"UnknownTopKey", "/speculation", "1", "/speculation", "unknown key"},
        Mistake{"UnknownVersion", "/version", "\"2.0\"", "/version", "2.0"},
        Mistake{"PaddingOfAWrongType", "/padding", "3", "/padding", "expected an object"},
        Mistake{"UnknownModel", "/model/type", "\"Unigram\"", "/model/type", "Unigram"},
        Mistake{"UnknownModelKey", "/model/speed", "1", "/model/speed", "unknown key"},
        Mistake{"ModelIsNoObject", "/model", "[]", "/model", "expected an object"},
        Mistake{"Dropout", "/model/dropout", "0.1", "/model/dropout", "dropout"},
        Mistake{"SubwordPrefix", "/model/continuing_subword_prefix", "\"##\"",
                "/model/continuing_subword_prefix", "not supported"},
        Mistake{"WordSuffix", "/model/end_of_word_suffix", "\"</w>\"", "/model/end_of_word_suffix",
                "not supported"},
        Mistake{"UnknownTokenIsUnknown", "/model/unk_token", "\"<unk>\"", "/model/unk_token", "<unk>"},
        Mistake{"FlagIsNoFlag", "/model/fuse_unk", "\"yes\"", "/model/fuse_unk", "true or false"},
        Mistake{"EmptyVocabulary", "/model/vocab", "{}", "/model/vocab", "empty"},
        Mistake{"VocabularyIsAList", "/model/vocab", "[\"a\"]", "/model/vocab", "expected an object"},
        Mistake{"NegativeId", "/model/vocab/a", "-1", "/model/vocab/a", "0 to 1048575"},
        Mistake{"HugeId", "/model/vocab/a", "1048576", "/model/vocab/a", "0 to 1048575"},
        Mistake{"IdBeyondInt64", "/model/vocab/a", "18446744073709551615", "/model/vocab/a", "0 to 1048575"},
        Mistake{"FractionalId", "/model/vocab/a", "0.5", "/model/vocab/a", "an integer"},
        Mistake{"IdTwice", "/model/vocab/a", "1", "/model/vocab/", "belongs to"},
        Mistake{"IdOfKeyWithSlash", "/model/vocab/x~1y", "true", "/model/vocab/x~1y", "an integer"},
        Mistake{"MergesMissing", "/model/merges", "null", "/model/merges", "expected an array"},
        Mistake{"MergeOfUnknownToken", "/model/merges/1", "\"x c\"", "/model/merges/1", "\"x\""},
        Mistake{"MergeToUnknownToken", "/model/merges/1", "\"a c\"", "/model/merges/1", "\"ac\""},
        Mistake{"MergeTwice", "/model/merges/1", "\"a b\"", "/model/merges/1", "twice"},
        Mistake{"MergeWithoutSpace", "/model/merges/0", "\"ab\"", "/model/merges/0", "one space"},
        Mistake{"MergeWithTwoSpaces", "/model/merges/0", "\"a  b\"", "/model/merges/0", "one space"},
        Mistake{"MergeOfNothing", "/model/merges/0", "\" b\"", "/model/merges/0", "empty"},
        Mistake{"MergeOfThree", "/model/merges/0", "[\"a\", \"b\", \"c\"]", "/model/merges/0", "pair"},
        Mistake{"MergeIsANumber", "/model/merges/0", "7", "/model/merges/0", "expected a string"},
        Mistake{"AddedUnknownKey", "/added_tokens/0/bold", "true", "/added_tokens/0/bold", "unknown key"},
        Mistake{"AddedWithoutContent", "/added_tokens/0", "{\"id\": 10}", "/added_tokens/0",
                "\"content\" is missing"},
        Mistake{"AddedEmpty", "/added_tokens/0/content", "\"\"", "/added_tokens/0/content", "0 bytes"},
        Mistake{"AddedTakesAnId", "/added_tokens/0/id", "3", "/added_tokens/0/id", "belongs to \"d\""},
        Mistake{"AddedMovesAToken", "/added_tokens/0/content", "\"a\"", "/added_tokens/0/id",
                "gives \"a\" the id 0"},
        Mistake{"AddedTwice", "/added_tokens/1",
                R"({"id": 10, "content": "</s>", "normalized": false, "special": true})",
                "/added_tokens/1/id", "twice"},
        Mistake{"AddedNameTwice", "/added_tokens/1",
                R"({"id": 11, "content": "<s>", "normalized": false, "special": true})",
                "/added_tokens/1/content", "twice"},
        Mistake{"AddedIdTooLarge", "/added_tokens/0/id", "1048576", "/added_tokens/0/id", "0 to 1048575"},
        Mistake{"UnknownNormalizer", "/normalizer", R"({"type": "Nmt"})", "/normalizer/type",
                "\"Nmt\" is not known"},
        Mistake{"UnknownNormalizerInside", "/normalizer",
                R"({"type": "Sequence", "normalizers": [{"type": "Lowercase"}]})",
                "/normalizer/normalizers/0/type", "Lowercase"},
        Mistake{"NormalizerKey", "/normalizer", R"({"type": "Prepend", "prepend": "x", "append": "y"})",
                "/normalizer/append", "unknown key"},
        Mistake{"EmptyReplace", "/normalizer",
                R"({"type": "Replace", "pattern": {"String": ""}, "content": "y"})",
                "/normalizer/pattern/String", "empty pattern"},
        Mistake{"UnknownPreTokenizer", "/pre_tokenizer", R"({"type": "BertPreTokenizer"})",
                "/pre_tokenizer/type", "BertPreTokenizer"},
        Mistake{"BadRegex", "/pre_tokenizer",
                R"({"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated", "invert": false})",
                "/pre_tokenizer/pattern/Regex", "wrong at byte 2"},
        Mistake{"PatternOfNoKind", "/pre_tokenizer",
                R"({"type": "Split", "pattern": {"Glob": "*"}, "behavior": "Isolated", "invert": false})",
                "/pre_tokenizer/pattern/Glob", "unknown key"},
        Mistake{"PatternOfBothKinds", "/pre_tokenizer",
                R"({"type": "Split", "pattern": {"Regex": "a", "String": "a"}, "behavior": "Isolated"})",
                "/pre_tokenizer/pattern", "one of"},
        Mistake{"UnknownBehavior", "/pre_tokenizer",
                R"({"type": "Split", "pattern": {"String": "a"}, "behavior": "Shuffled", "invert": false})",
                "/pre_tokenizer/behavior", "Shuffled"},
        Mistake{"WideMetaspace", "/pre_tokenizer", R"({"type": "Metaspace", "replacement": "__"})",
                "/pre_tokenizer/replacement", "one character"},
        Mistake{"UnknownScheme", "/pre_tokenizer",
                R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "second"})",
                "/pre_tokenizer/prepend_scheme", "second"},
        Mistake{
            "SchemeAgainstPrefix", "/pre_tokenizer",
            R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "first", "add_prefix_space": false})",
            "/pre_tokenizer/add_prefix_space", "contradicts"},
        Mistake{"UnknownDecoder", "/decoder", R"({"type": "CTC"})", "/decoder/type", "CTC"},
        Mistake{"EndlessStrip", "/decoder", R"({"type": "Strip", "content": " ", "start": 99999, "stop": 0})",
                "/decoder/start", "0 to 1024"},
        Mistake{"UnknownPostProcessor", "/post_processor", R"({"type": "RobertaProcessing"})",
                "/post_processor/type", "RobertaProcessing"},
        Mistake{"TemplateWithoutText", "/post_processor",
                R"({"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}})",
                "/post_processor/single", "leaves the text out"},
        Mistake{
            "TemplateWithTwoTexts", "/post_processor",
            R"({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}, {"Sequence": {"id": "B"}}],
                    "pair": [], "special_tokens": {}})",
            "/post_processor/single/1/Sequence/id", "once"},
        Mistake{
            "TemplateOfUnknownToken", "/post_processor",
            R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<x>"}}, {"Sequence": {"id": "A"}}],
                    "pair": [], "special_tokens": {}})",
            "/post_processor/single/0/SpecialToken/id", "<x>"},
        Mistake{
            "TemplateOfUnusedId", "/post_processor",
            R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<x>"}}, {"Sequence": {"id": "A"}}],
                    "pair": [], "special_tokens": {"<x>": {"id": "<x>", "ids": [77], "tokens": ["<x>"]}}})",
            "/post_processor", "77 has no token"}),
    [](const auto& instance) { return std::string(instance.param.name); });

TEST(BadTokenizerText, IsRefused) {
  const auto message_of = [](const std::string& text) {
    return bad_input_message([&] { ByteBpe::from_text(text, "tokenizer.json", {}); });
  };
  EXPECT_THAT(message_of(""), HasSubstr("not JSON at byte"));
  EXPECT_THAT(message_of("[1]"), HasSubstr("expected an object"));
  EXPECT_THAT(message_of("{\"model\": 1} x"), HasSubstr("not JSON at byte"));
  EXPECT_THAT(message_of("{\"model\": \"\xFF\"}"), HasSubstr("not JSON at byte"));
  EXPECT_THAT(message_of("{\"model\": \"\\ud800\"}"), HasSubstr("not JSON at byte"));
  EXPECT_THAT(message_of(R"({"model": {"vocab": {"a": 1, "b": 2, "a": 3}}})"),
              HasSubstr("duplicate key at /model/vocab/a"));
  EXPECT_THAT(message_of(R"({"added_tokens": [{"id": 1}, {"id": 1, "id": 2}]})"),
              HasSubstr("duplicate key at /added_tokens/1/id"));
  EXPECT_THAT(message_of(std::string(100000, '[')), HasSubstr("nested deeper than 64"));
  EXPECT_THAT(message_of("{}"), HasSubstr("\"model\" is missing"));
  std::string whole = small_tokenizer().dump();
  for (std::size_t bytes = 0; bytes < whole.size(); bytes += 7) {
    EXPECT_THAT(message_of(whole.substr(0, bytes)), HasSubstr("not JSON at byte"));
  }
}

// Each of these tries some 2^30 ways. The letter that it looks for is there, further on, so that PCRE2
// cannot see at once that it will fail.
TEST(RegexBomb, EndsInAnErrorAndNotInAHang) {
  const std::vector<std::pair<std::string, std::string>> bombs = {
      {"(a+)+c", std::string(40, 'a') + "bc"},
      {"(?:a|aa)+c", std::string(60, 'a') + "bc"},
      {"(?=(?:a|a)+c)a", std::string(40, 'a') + "bc"},
  };
  for (const auto& [pattern, text] : bombs) {
    json document = small_tokenizer();
    document["pre_tokenizer"] = {
        {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
    const auto tokenizer = make_tokenizer(document);
    EXPECT_THAT(bad_input_message([&] { encode(*tokenizer, text); }),
                AllOf(HasSubstr(pattern), HasSubstr("too much")));
  }
}

// A match within its limit at each of very many places must not add up to hours.
TEST(RegexBomb, AllMatchesTogetherHaveATimeLimit) {
  const Regex regex("(?:a|aa)+c");
  const std::string text = std::string(26, 'a') + "bc";
  MatchBudget spent(0, std::chrono::milliseconds(50));
  Matcher matcher(regex, spent);
  EXPECT_THAT(bad_input_message([&] {
                for (int i = 0; i < 1'000'000; ++i) {
                  std::size_t begin = 0;
                  std::size_t end = 0;
                  matcher.start(text);
                  matcher.next(begin, end);
                }
              }),
              HasSubstr("takes too long"));
}

TEST(Dialect, RefusesWhatPcre2MatchesOtherwise) {
  for (const char* pattern :
       {R"(\w+)", R"(\bfoo)", R"(\h)", R"([a[bc]])", R"([a&&b])", R"((?m)a.b)", R"((?<name>a))", R"((a)\1)",
        R"(a{1,2}+)", R"(a{,2})", R"((*LIMIT_MATCH=1)a)", R"([\S])", R"(a(?i)b)", R"((?R))", R"(\Ga)",
        R"([]a])", R"([[:alpha:]])", R"((?C1)a)"}) {
    EXPECT_THAT(bad_input_message([&] { Regex{std::string(pattern)}; }), HasSubstr("uses")) << pattern;
  }
  EXPECT_THAT(bad_input_message([] { Regex{std::string(20000, 'a')}; }), HasSubstr("20000 bytes"));
  EXPECT_THAT(bad_input_message([] { Regex{std::string(200, '(') + std::string(200, ')')}; }),
              HasSubstr("nested"));
  for (
      const char* pattern :
      {R"((?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
       R"(\x{41}+|\p{Lu}+)", R"(a++b?+)"}) {
    EXPECT_NO_THROW(Regex{std::string(pattern)}) << pattern;
  }
}

}  // namespace
}  // namespace quench::worker
