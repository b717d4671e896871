// Each stage of a tokenizer.json on small vocabularies. What the stages must give was read off the
// tokenizers library; compare_with_peers.py asks it again about whole vocabularies.
#include <gmock/gmock.h>

#include "tests/worker/tokenize/tokenizer_fixture.h"
#include "worker/tokenize/normalizer.h"
#include "worker/tokenize/pre_tokenizer.h"

namespace quench::worker {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

// The words that a pre-tokenizer cuts `text` into.
std::vector<std::string> words(const char* pre_tokenizer, const std::string& text) {
  const json document = json::parse(pre_tokenizer);
  Pieces pieces{text, {{0, text.size(), true}}};
  MatchBudget budget(text.size());
  read_pre_tokenizer(JsonNode(document, ""))->apply(pieces, budget);
  std::vector<std::string> out;
  for (const Piece& piece : pieces.cuts) out.emplace_back(pieces.view(piece));
  return out;
}

std::vector<std::string> split_words(const char* behavior, bool invert, const std::string& text) {
  json document{
      {"type", "Split"}, {"pattern", {{"String", "-"}}}, {"behavior", behavior}, {"invert", invert}};
  return words(document.dump().c_str(), text);
}

std::string normalized(const char* normalizer, const std::string& text) {
  const json document = json::parse(normalizer);
  MatchBudget budget(text.size());
  return read_normalizer(JsonNode(document, ""))->apply(text, budget);
}

std::string decoded(const char* decoder, const std::vector<std::string>& tokens) {
  const json document = json::parse(decoder);
  std::vector<DecodedToken> list;
  for (const std::string& token : tokens) list.push_back({token, false});
  read_decoder(JsonNode(document, ""))->decode(list);
  std::string out;
  for (const DecodedToken& token : list) out += token.text;
  return out;
}

// Examples of Unicode Standard Annex 15, and where composing must not reach: over a mark of the same class, to characters
// that are excluded from it, across what stands between.
TEST(Normalizer, NfcComposesAsTheStandardSays) {
  const auto nfc = [](const std::string& text) { return normalized(R"({"type": "NFC"})", text); };
  EXPECT_EQ(nfc("plain, caf\u00e9"), "plain, caf\u00e9");
  EXPECT_EQ(nfc("e\u0301"), "\u00e9");
  EXPECT_EQ(nfc("D\u0307\u0323"), "\u1e0c\u0307");
  EXPECT_EQ(nfc("\u1e0a\u0323"), "\u1e0c\u0307");
  EXPECT_EQ(nfc("\u212b\u2126"), "\u00c5\u03a9");
  EXPECT_EQ(nfc("a\u0301\u0301"), "\u00e1\u0301");
  EXPECT_EQ(nfc("\u0958"), "\u0915\u093c");
  EXPECT_EQ(nfc("\u1100\u1161\u11a8"), "\uac01");
  EXPECT_EQ(nfc("\uac00\u11a7\u11a8"), "\uac00\u11a7\u11a8");
  EXPECT_EQ(nfc("\u0b47\u0300\u0b3e"), "\u0b47\u0300\u0b3e");
  EXPECT_EQ(nfc("\u0b47\u0b3e"), "\u0b4b");
  EXPECT_EQ(nfc("\u0301"), "\u0301");
}

TEST(Merge, TakesTheLowestRankThenTheLeftmost) {
  json document = small_tokenizer();
  const auto tokenizer = make_tokenizer(document);
  EXPECT_THAT(encode(*tokenizer, "abcab"), ElementsAre(8, 7));
  // With b c first, ab c never comes about.
  document["model"]["merges"] = {"b c", "a b", "ab c"};
  EXPECT_THAT(encode(*make_tokenizer(document), "abcab"), ElementsAre(0, 9, 7));
}

// Words beyond 128 bytes are cut where no merge reaches across. The cuts must not show: not beside a
// character that is left out or replaced (its neighbours may meet), not inside a merge.
TEST(Merge, GivesLongWordsTheSameIdsAsTheirParts) {
  json document = small_tokenizer();
  std::string word;
  std::vector<TokenId> ids;
  for (int i = 0; i < 100; ++i) {
    word += "abcdaxbd";  // x is unknown and left out: a and b meet
    ids.insert(ids.end(), {8, 3, 7, 3});
  }
  EXPECT_EQ(encode(*make_tokenizer(document), word), ids);
  document["model"]["unk_token"] = "e";
  document["model"]["fuse_unk"] = true;
  EXPECT_THAT(encode(*make_tokenizer(document), "a" + std::string(300, 'x') + "d"), ElementsAre(0, 4, 3));
  EXPECT_THAT(encode(*make_tokenizer(document), std::string(300, 'd')), ::testing::SizeIs(300));
}

TEST(Merge, ReadsPairsAsStringsAndAsArrays) {
  json document = small_tokenizer();
  document["model"]["merges"] = json::parse(R"([["a", "b"], ["b", "c"], ["ab", "c"]])");
  EXPECT_THAT(encode(*make_tokenizer(document), "abcab"), ElementsAre(8, 7));
}

TEST(Merge, IgnoresMergesForWholeWordsWhenTold) {
  json document = small_tokenizer();
  document["model"]["merges"] = {"b c"};
  document["model"]["ignore_merges"] = true;
  EXPECT_THAT(encode(*make_tokenizer(document), "abc"), ElementsAre(8));
  document["model"]["ignore_merges"] = false;
  EXPECT_THAT(encode(*make_tokenizer(document), "abc"), ElementsAre(0, 9));
}

TEST(Merge, LeavesOutOrReplacesOrFusesUnknownCharacters) {
  json document = small_tokenizer();
  EXPECT_THAT(encode(*make_tokenizer(document), "axyb"), ElementsAre(7))
      << "left out, and its neighbours meet";
  document["model"]["unk_token"] = "e";
  EXPECT_THAT(encode(*make_tokenizer(document), "axyb"), ElementsAre(0, 4, 4, 1));
  document["model"]["fuse_unk"] = true;
  EXPECT_THAT(encode(*make_tokenizer(document), "axyb"), ElementsAre(0, 4, 1));
}

TEST(Merge, FallsBackToBytesOnlyWhenAllOfACharacterHaveATokens) {
  json document = small_tokenizer();
  document["model"]["byte_fallback"] = true;
  document["model"]["unk_token"] = "e";
  document["model"]["vocab"]["<0xC3>"] = 11;
  document["model"]["vocab"]["<0xA9>"] = 12;
  const auto tokenizer = make_tokenizer(document);
  EXPECT_THAT(encode(*tokenizer, "aé"), ElementsAre(0, 11, 12));
  EXPECT_THAT(encode(*tokenizer, "aè"), ElementsAre(0, 4)) << "<0xA8> is missing";
}

TEST(AddedTokens, AreFoundBeforeAnythingElseTheLongestFirst) {
  json document = small_tokenizer();
  document["added_tokens"].push_back(document["added_tokens"][0]);
  document["added_tokens"][1]["id"] = 11;
  document["added_tokens"][1]["content"] = "<s>ab";
  const auto tokenizer = make_tokenizer(document);
  EXPECT_THAT(encode(*tokenizer, "ab<s>ab<s>a<s"), ElementsAre(7, 11, 10, 0));
  EXPECT_EQ(tokenizer->vocabulary_size(), 12);
}

TEST(AddedTokens, TakeWhiteSpaceAlongWhenTold) {
  json document = small_tokenizer();
  document["model"]["vocab"][" "] = 11;
  EXPECT_THAT(encode(*make_tokenizer(document), "a  <s>\t b"), ElementsAre(0, 11, 11, 10, 11, 1));
  document["added_tokens"][0]["lstrip"] = true;
  EXPECT_THAT(encode(*make_tokenizer(document), "a  <s>\t b"), ElementsAre(0, 10, 11, 1));
  document["added_tokens"][0]["rstrip"] = true;
  EXPECT_THAT(encode(*make_tokenizer(document), "a  <s>\t b"), ElementsAre(0, 10, 1));
}

TEST(AddedTokens, StandAloneWhenTold) {
  json document = small_tokenizer();
  document["added_tokens"][0]["content"] = "cd";
  document["added_tokens"][0]["single_word"] = true;
  document["model"]["vocab"]["-"] = 11;
  const auto tokenizer = make_tokenizer(document);
  EXPECT_THAT(encode(*tokenizer, "cd-cd"), ElementsAre(10, 11, 10));
  EXPECT_THAT(encode(*tokenizer, "acd"), ElementsAre(0, 2, 3));
  EXPECT_THAT(encode(*tokenizer, "cda"), ElementsAre(2, 3, 0));
}

// A run of white space that is a token and takes white space along on both sides: the first one takes all
// of the run, and nothing is left for the others.
TEST(AddedTokens, TakenAlongByAnotherAreNotThere) {
  json document = small_tokenizer();
  document["added_tokens"][0].update({{"content", "\n"}, {"lstrip", true}, {"rstrip", true}});
  EXPECT_THAT(encode(*make_tokenizer(document), "a\n\n\nb"), ElementsAre(0, 10, 1));
}

TEST(AddedTokens, NormalizedOnesDecodeToWhatWasFound) {
  json document = small_tokenizer();
  document["normalizer"] = json::parse(R"({"type": "Sequence", "normalizers": [
      {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]})");
  document["decoder"] = json::parse(R"({"type": "Replace", "pattern": {"String": "▁"}, "content": " "})");
  document["added_tokens"][0]["normalized"] = true;
  const auto tokenizer = make_tokenizer(document);
  EXPECT_THAT(encode(*tokenizer, "a <s>"), ElementsAre(5, 0, 10)) << "▁<s> is one token";
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{5, 0, 10}, SkipSpecialTokens::no), " a <s>");
}

TEST(AddedTokens, NormalizedOnesAreSoughtInTheNormalizedText) {
  json document = small_tokenizer();
  document["normalizer"] = json::parse(R"({"type": "Replace", "pattern": {"String": "d"}, "content": "e"})");
  document["added_tokens"][0]["content"] = "<d>";
  const auto exact = make_tokenizer(document);
  EXPECT_THAT(encode(*exact, "<d>"), ElementsAre(10));
  EXPECT_THAT(encode(*exact, "<e>"), ElementsAre(4));
  document["added_tokens"][0]["normalized"] = true;
  const auto normal = make_tokenizer(document);
  EXPECT_THAT(encode(*normal, "<d>"), ElementsAre(10));
  EXPECT_THAT(encode(*normal, "<e>"), ElementsAre(10));
}

TEST(Normalizers, PrependReplaceAndSequence) {
  EXPECT_EQ(normalized(R"({"type": "Prepend", "prepend": "▁"})", "a b"), "▁a b");
  EXPECT_EQ(normalized(R"({"type": "Prepend", "prepend": "▁"})", ""), "");
  EXPECT_EQ(normalized(R"({"type": "Replace", "pattern": {"Regex": "[0-9]+"}, "content": "#"})", "a12b3"),
            "a#b#");
  EXPECT_EQ(normalized(R"({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": " "},
              {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]})",
                       "a b"),
            "▁a▁b");
}

TEST(Splits, FollowTheirBehavior) {
  EXPECT_THAT(split_words("Removed", false, "-a--b"), ElementsAre("a", "b"));
  EXPECT_THAT(split_words("Isolated", false, "-a--b"), ElementsAre("-", "a", "-", "-", "b"));
  EXPECT_THAT(split_words("Contiguous", false, "-a--b"), ElementsAre("-", "a", "--", "b"));
  EXPECT_THAT(split_words("MergedWithPrevious", false, "-a--b"), ElementsAre("-", "a-", "-", "b"));
  EXPECT_THAT(split_words("MergedWithNext", false, "-a--b"), ElementsAre("-a", "-", "-b"));
  EXPECT_THAT(split_words("Removed", true, "-a--b"), ElementsAre("-", "-", "-"));
}

TEST(Splits, SeeOnlyTheirPiece) {
  // The second split may not look behind into the piece before.
  EXPECT_THAT(words(R"({"type": "Sequence", "pretokenizers": [
      {"type": "Split", "pattern": {"String": "-"}, "behavior": "Isolated", "invert": false},
      {"type": "Split", "pattern": {"Regex": "(?<=-)a"}, "behavior": "Isolated", "invert": false}]})",
                    "-ab"),
              ElementsAre("-", "ab"));
}

TEST(Splits, LinesEndWhereRubySaysSo) {
  EXPECT_THAT(
      words(R"({"type": "Split", "pattern": {"Regex": "a$"}, "behavior": "Removed", "invert": false})",
            "ba\nca\r\nda"),
      ElementsAre("b", "\nca\r\nd"));
}

TEST(Splits, KnowWhatUnicodeAddedSinceThePcre2OfDebian) {
  // U+31350 is an ideograph since Unicode 15, U+1E4F0 a digit since 15, U+180E no space since 6.3.
  EXPECT_THAT(
      words(R"({"type": "Split", "pattern": {"Regex": "\\p{L}+"}, "behavior": "Isolated", "invert": false})",
            "a\U00031350-"),
      ElementsAre("a\U00031350", "-"));
  EXPECT_THAT(words(R"({"type": "Digits", "individual_digits": true})", "a\U0001E4F0b"),
              ElementsAre("a", "\U0001E4F0", "b"));
  EXPECT_THAT(
      words(R"({"type": "Split", "pattern": {"Regex": "\\s"}, "behavior": "Removed", "invert": false})",
            "a\u180Eb\u2003c"),
      ElementsAre("a\u180Eb", "c"));
}

TEST(Digits, AloneOrTogether) {
  EXPECT_THAT(words(R"({"type": "Digits", "individual_digits": true})", "a12½"),
              ElementsAre("a", "1", "2", "½"));
  EXPECT_THAT(words(R"({"type": "Digits", "individual_digits": false})", "a12½b"),
              ElementsAre("a", "12½", "b"));
}

TEST(ByteLevel, WritesBytesAsCharacters) {
  EXPECT_THAT(words(R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true})", "I'm é\n"),
              ElementsAre("I", "'m", "ĠÃ©", "Ċ"));
  EXPECT_THAT(words(R"({"type": "ByteLevel", "add_prefix_space": true, "use_regex": false})", "a b"),
              ElementsAre("ĠaĠb"));
}

TEST(Metaspace, PutsItsMarkBeforeTheText) {
  EXPECT_THAT(words(R"({"type": "Metaspace", "replacement": "▁", "add_prefix_space": true})", "a  b"),
              ElementsAre("▁a", "▁", "▁b"));
  EXPECT_THAT(
      words(R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": false})", "a b"),
      ElementsAre("a▁b"));
  json document = small_tokenizer();
  document["pre_tokenizer"] =
      json::parse(R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true})");
  const auto tokenizer = make_tokenizer(document);
  EXPECT_THAT(encode(*tokenizer, "a<s>a"), ElementsAre(5, 0, 10, 0));
  EXPECT_THAT(encode(*tokenizer, "<s>a"), ElementsAre(10, 0));
}

TEST(Decoders, GiveTextBack) {
  EXPECT_EQ(decoded(R"({"type": "ByteLevel"})", {"Ġa", "Ã", "©", "Ã"}), " aé\uFFFD");
  EXPECT_EQ(decoded(R"({"type": "Metaspace", "replacement": "▁"})", {"▁a", "▁▁b"}), "a  b");
  EXPECT_EQ(decoded(R"({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never"})", {"▁a"}), " a");
  const char* llama = R"({"type": "Sequence", "decoders": [
      {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
      {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})";
  EXPECT_EQ(decoded(llama, {"▁▁a", "<0xC3>", "<0xA9>", "<0xC3>", "b"}), " a\uFFFD\uFFFD\uFFFDb")
      << "one ill-formed byte spoils its run, as in the library";
  EXPECT_EQ(decoded(llama, {"<0xC3>", "<0xA9>", "b"}), "éb");
  EXPECT_EQ(decoded(llama, {"<0xZ9>"}), "<0xZ9>");
}

TEST(PostProcessors, PutSpecialTokensAround) {
  json document = small_tokenizer();
  document["post_processor"] = json::parse(R"({"type": "Sequence", "processors": [
      {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
      {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "x", "type_id": 0}}], "pair": [],
       "special_tokens": {"<s>": {"id": "<s>", "ids": [10], "tokens": ["<s>"]},
                          "x": {"id": "x", "ids": [3, 4], "tokens": ["d", "e"]}}}]})");
  const auto tokenizer = make_tokenizer(document);
  EXPECT_THAT(tokenizer->encode("ab", AddSpecialTokens::yes), ElementsAre(10, 7, 3, 4));
  EXPECT_THAT(tokenizer->encode("", AddSpecialTokens::yes), ElementsAre(10, 3, 4));
  EXPECT_THAT(tokenizer->encode("", AddSpecialTokens::no), IsEmpty());
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{10, 7}, SkipSpecialTokens::yes), "ab");
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{10, 7}, SkipSpecialTokens::no), "<s>ab");
}

TEST(Encode, RepairsIllFormedTextFirst) {
  json document = small_tokenizer();
  document["model"]["vocab"]["\uFFFD"] = 11;
  const auto tokenizer = make_tokenizer(document);
  EXPECT_THAT(encode(*tokenizer,
                     "a\xFF"
                     "b\xE2\x96"),
              ElementsAre(0, 11, 1, 11));
}

TEST(Encode, MayBeCalledWithBytesOfAnyKind) {
  const auto tokenizer = load_tokenizer(vocabulary_dir("deepseek-coder"));
  const std::string text("a\0b\r\n\x01", 6);
  EXPECT_EQ(tokenizer->decode(encode(*tokenizer, text), SkipSpecialTokens::no), text);
}

}  // namespace
}  // namespace quench::worker
