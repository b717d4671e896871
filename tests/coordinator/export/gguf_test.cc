// What of a model GGUF can say: tokenizers as llama.cpp reads them, and Q4_K's numbers. That llama.cpp then does what the
// engine does is tests/peers' matter.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "coordinator/export/float_formats.h"
#include "coordinator/export/gguf_blocks.h"
#include "coordinator/export/gguf_tokenizer.h"
#include "coordinator/export/sentencepiece_file.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

using nlohmann::json;

json fixture(const char* model) {
  std::ifstream in(std::filesystem::path(QUENCH_SOURCE_DIR) / "tests/fixtures" / model / "tokenizer.json");
  return json::parse(in);
}
json spm_tokenizer() { return fixture("stories260k"); }
json byte_tokenizer() { return fixture("tiny_coder"); }

ModelConfig config_of(std::uint32_t vocabulary) {
  ModelConfig config;
  config.vocab_size = vocabulary;
  config.eos_ids = {2};
  return config;
}

std::string refusal(const json& tokenizer, std::uint32_t vocabulary) {
  GgufMetadata metadata;
  try {
    put_tokenizer({tokenizer.dump(), "", "", ""}, config_of(vocabulary), metadata);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    return error.what();
  }
  return "";
}

TEST(GgufTokenizer, KnowsTheWaysOfSplittingTextThatLlamaCppNames) {
  json tokenizer = byte_tokenizer();
  EXPECT_EQ(refusal(tokenizer, 2048), "");
  const json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}};
  tokenizer["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, bytes}}};
  EXPECT_EQ(refusal(tokenizer, 2048), "");
  tokenizer["pre_tokenizer"]["pretokenizers"][0]["individual_digits"] = false;
  EXPECT_NE(refusal(tokenizer, 2048).find("/pre_tokenizer"), std::string::npos);
}

TEST(GgufTokenizer, RefusesWhatLlamaCppWouldDoOtherwise) {
  const auto told = [](json tokenizer, const char* pointer, const json& value, std::uint32_t vocabulary) {
    tokenizer[json::json_pointer(pointer)] = value;
    return refusal(tokenizer, vocabulary);
  };
  const json bytes = byte_tokenizer(), pieces = spm_tokenizer();
  EXPECT_NE(told(bytes, "/normalizer", {{"type", "NFKC"}}, 2048).find("/normalizer"), std::string::npos);
  EXPECT_NE(told(bytes, "/normalizer", {{"type", "NFC"}}, 2048).find("/normalizer"), std::string::npos) << "only Qwen2's readers expect it";
  EXPECT_NE(told(bytes, "/model/ignore_merges", true, 2048).find("ignores merges"), std::string::npos);
  EXPECT_NE(told(bytes, "/model/dropout", 0.1, 2048).find("at random"), std::string::npos);
  EXPECT_NE(told(bytes, "/model/type", "Unigram", 2048).find("is no BPE"), std::string::npos);
  EXPECT_NE(told(bytes, "/added_tokens/0/rstrip", true, 2048).find("\"rstrip\""), std::string::npos);
  EXPECT_NE(told(bytes, "/model/merges/0", json::array({"a"}), 2048).find("is not as the tokenizers library"), std::string::npos);
  EXPECT_NE(refusal(bytes, 2047).find("has the token 2047 and the model a vocabulary of 2047"), std::string::npos);
  EXPECT_EQ(refusal(pieces, 512), "");
  EXPECT_NE(told(pieces, "/normalizer", {{"type", "Lowercase"}}, 512).find("/normalizer"), std::string::npos);
  EXPECT_NE(told(pieces, "/model/merges/0", "q zzz", 512).find("whose result qzzz is no token"), std::string::npos);
}

// The merges of stories260k are those of scores; one that is moved or missing has no score that says so.
TEST(GgufTokenizer, RefusesMergesThatNoScoresGive) {
  json tokenizer = spm_tokenizer();
  json& merges = tokenizer["model"]["merges"];
  std::map<std::string, std::vector<std::size_t>> of_result;
  for (std::size_t i = 0; i < merges.size(); ++i) {
    std::string text = merges[i].is_array() ? merges[i][0].get<std::string>() + merges[i][1].get<std::string>() : merges[i].get<std::string>();
    std::erase(text, ' ');
    of_result[text].push_back(i);
  }
  const auto several = std::find_if(of_result.begin(), of_result.end(), [](const auto& one) { return one.second.size() > 1; });
  ASSERT_NE(several, of_result.end());
  const std::size_t at = several->second.back();
  json moved = tokenizer;
  moved["model"]["merges"].push_back(merges[at]);
  moved["model"]["merges"].erase(at);
  EXPECT_NE(refusal(moved, 512).find("with others between them"), std::string::npos);
  json missing = tokenizer;
  missing["model"]["merges"].erase(at);
  EXPECT_NE(refusal(missing, 512).find("has no merge of"), std::string::npos);
}

TEST(GgufTokenizer, ACutSentencePieceFileIsAnErrorOrShorter) {
  // Two pieces, a trainer that says BPE, a normalizer that removes nothing.
  const std::string file("\x0a\x07\x0a\x01""a\x18\x03\x28\x00"
                         "\x0a\x09\x0a\x02""bc\x15\x00\x00\x80\xbf"
                         "\x12\x02\x18\x02"
                         "\x1a\x04\x18\x01\x20\x00", 30);
  const SentencePieceFile whole = read_sentencepiece_file(file);
  ASSERT_EQ(whole.pieces.size(), 2u);
  EXPECT_EQ(whole.pieces[0].kind, 3);
  EXPECT_EQ(whole.pieces[1].text, "bc");
  EXPECT_EQ(whole.pieces[1].score, -1.0f);
  EXPECT_TRUE(whole.is_bpe && whole.adds_space_first && !whole.removes_extra_spaces);
  std::size_t refused = 0;
  for (std::size_t length = 0; length < file.size(); ++length) {
    try {
      EXPECT_LE(read_sentencepiece_file(std::string_view(file).substr(0, length)).pieces.size(), 2u);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_input);
      ++refused;
    }
  }
  EXPECT_EQ(refused, file.size() - 3) << "it may end behind a field";
}

// The weights that llama.cpp makes of the block, in double.
double weight_of(const SuperBlock& block, std::size_t group, int code) {
  return double{f16_to_f32(block.scale)} * block.scales[group] * code - double{f16_to_f32(block.minimum)} * block.minima[group];
}

TEST(SuperBlock, IsExactWheneverItSaysSo) {
  std::mt19937 random(3);
  std::size_t made = 0;
  for (int round = 0; round < 20'000; ++round) {
    // One scale, multiples of one, or anything.
    const auto base = static_cast<std::uint16_t>(random() % 0x7b00);
    std::array<std::uint16_t, 8> scales;
    std::array<std::uint8_t, 8> zeros;
    for (std::size_t j = 0; j < 8; ++j) {
      const float factor = static_cast<float>(1 + random() % (round % 3 == 1 ? 15 : 1));
      scales[j] = round % 3 == 2 ? static_cast<std::uint16_t>(random() % 0x7b00) : f32_to_f16(f16_to_f32(base) * factor);
      if (scales[j] >= 0x7c00) scales[j] = base;
      zeros[j] = static_cast<std::uint8_t>(random() % 16);
    }
    const std::optional<SuperBlock> block = exact_super_block(scales, zeros);
    if (!block) {
      ASSERT_NE(round % 3, 0) << "one scale: " << base;
      continue;
    }
    ++made;
    for (std::size_t j = 0; j < 8; ++j) {
      ASSERT_LT(block->scales[j], 64);
      ASSERT_LT(block->minima[j], 64);
      for (int code = 0; code < 16; ++code)
        ASSERT_EQ(weight_of(*block, j, code), double{f16_to_f32(scales[j])} * (code - zeros[j])) << round << " " << j;
    }
  }
  EXPECT_GT(made, 20'000u / 3 + 100) << "multiples of one scale fit now and then";
  const std::array<std::uint8_t, 8> middle{8, 8, 8, 8, 8, 8, 8, 8};
  EXPECT_FALSE(exact_super_block({0x2e66, 0x2e67, 0x2e66, 0x2e66, 0x2e66, 0x2e66, 0x2e66, 0x2e66}, middle))
      << "neighbouring scales have no divisor that is large enough";
}

}  // namespace
}  // namespace quench::coordinator
