// Where the tests find real vocabularies, and how they make small ones.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "schemas/error.h"
#include "worker/tokenize/byte_bpe.h"
#include "worker/tokenize/tokenizer.h"

namespace quench::worker {

// The folder of a real vocabulary, unpacked from tests/fixtures/tokenizers when the build is configured.
inline std::filesystem::path vocabulary_dir(const std::string& name) {
  return std::filesystem::path(QUENCH_TOKENIZERS_DIR) / name;
}

// A folder of its own for one test, removed afterwards.
class ScratchDir {
 public:
  ScratchDir() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    std::string name = std::string("quench-") + test->test_suite_name() + "-" + test->name() + "-" +
                       std::to_string(::getpid());
    for (char& c : name) c = c == '/' ? '-' : c;
    path_ = std::filesystem::temp_directory_path() / name;
    std::filesystem::create_directories(path_);
  }
  ~ScratchDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
  }

 private:
  std::filesystem::path path_;
};

// A small BPE: letters a to e, ▁, space's Ġ, ab, abc, and <s>; changed by each test.
inline nlohmann::json small_tokenizer() {
  return nlohmann::json::parse(R"({
    "version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 10, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
                      "normalized": false, "special": true}],
    "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": {"type": "Fuse"},
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
              "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
              "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "▁": 5, "Ġ": 6, "ab": 7, "abc": 8, "bc": 9},
              "merges": ["a b", "b c", "ab c"]}})");
}

inline std::unique_ptr<ByteBpe> make_tokenizer(const nlohmann::json& document) {
  return ByteBpe::from_text(document.dump(), "tokenizer.json", {});
}

inline std::vector<TokenId> encode(const Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.encode(text, AddSpecialTokens::no);
}

// The message of the Error(bad_input) that `body` throws; a failure when it throws none.
template <typename Body>
std::string bad_input_message(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

}  // namespace quench::worker
