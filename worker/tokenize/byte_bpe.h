// tokenizer.json with a BPE model: byte-level (DeepSeek-Coder, StarCoder, GPT-2) and SentencePiece-style
// with byte fallback (CodeLlama). The pipeline is the tokenizers library's: added tokens, normalizer,
// normalized added tokens, pre-tokenizer, BPE, post-processor; and the decoder back.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "worker/tokenize/added_tokens.h"
#include "worker/tokenize/bpe_model.h"
#include "worker/tokenize/decoder.h"
#include "worker/tokenize/normalizer.h"
#include "worker/tokenize/post_processor.h"
#include "worker/tokenize/pre_tokenizer.h"
#include "worker/tokenize/special_settings.h"
#include "worker/tokenize/tokenizer.h"

namespace quench::worker {

class ByteBpe final : public Tokenizer {
 public:
  // Throws Error(bad_input) naming `path` and the JSON pointer.
  static std::unique_ptr<ByteBpe> from_file(const std::filesystem::path& path,
                                            const SpecialSettings& settings);
  // `path` is only for messages.
  static std::unique_ptr<ByteBpe> from_text(std::string_view json, const std::filesystem::path& path,
                                            const SpecialSettings& settings);

  std::vector<TokenId> encode(std::string_view text, AddSpecialTokens special) const override;
  std::string decode(std::span<const TokenId> ids, SkipSpecialTokens special) const override;
  std::string token_bytes(TokenId id) const override;
  bool is_special(TokenId id) const override;
  std::optional<TokenId> id_of(std::string_view token) const override;
  std::int32_t vocabulary_size() const override;
  std::optional<TokenId> bos_id() const override { return bos_id_; }
  std::optional<TokenId> eos_id() const override { return eos_id_; }
  const std::filesystem::path& path() const override { return path_; }

 private:
  ByteBpe(const JsonNode& root, const std::filesystem::path& path, const SpecialSettings& settings);
  void apply_settings(const SpecialSettings& settings);
  // What stands for `id` before decoding; empty text when the id has no token.
  DecodedToken token_of(TokenId id) const;
  void append_text(std::string text, bool at_input_start, MatchBudget& budget, BpeWorkspace& workspace,
                   std::vector<TokenId>& ids) const;
  void append_words(std::string text, bool at_input_start, MatchBudget& budget, BpeWorkspace& workspace,
                    std::vector<TokenId>& ids) const;

  std::filesystem::path path_;
  BpeModel model_;
  std::unique_ptr<Normalizer> normalizer_;
  std::unique_ptr<PreTokenizer> pre_tokenizer_;
  std::unique_ptr<Decoder> decoder_;
  PostProcessor post_processor_;
  AddedTokens added_;
  std::optional<TokenId> bos_id_;
  std::optional<TokenId> eos_id_;
};

}  // namespace quench::worker
