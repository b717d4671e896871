// tokenizer.model, read by libsentencepiece (this is its fence), with LLaMA's conventions: <s> before
// the text when special tokens are asked for, a ▁ before the first word, and names of special tokens in
// a text are text, never tokens.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "worker/tokenize/special_settings.h"
#include "worker/tokenize/tokenizer.h"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace quench::worker {

class SentencePiece final : public Tokenizer {
 public:
  // Throws Error(bad_input) naming `path` when it is not a SentencePiece model, is too large or has no
  // unknown token. `settings` may switch <s> off and </s> on.
  static std::unique_ptr<SentencePiece> from_file(const std::filesystem::path& path,
                                                  const SpecialSettings& settings);
  ~SentencePiece() override;

  std::vector<TokenId> encode(std::string_view text, AddSpecialTokens special) const override;
  std::string decode(std::span<const TokenId> ids, SkipSpecialTokens special) const override;
  std::string token_bytes(TokenId id) const override;
  bool is_special(TokenId id) const override;
  std::optional<TokenId> id_of(std::string_view token) const override;
  std::int32_t vocabulary_size() const override;
  std::optional<TokenId> bos_id() const override;
  std::optional<TokenId> eos_id() const override;
  const std::filesystem::path& path() const override { return path_; }

 private:
  SentencePiece(const std::filesystem::path& path, const SpecialSettings& settings);
  bool has(TokenId id) const { return id >= 0 && id < vocabulary_size(); }

  std::filesystem::path path_;
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
  bool add_bos_ = true;
  bool add_eos_ = false;
  bool has_dummy_prefix_ = true;  // whether encoding puts a ▁ before a text
};

}  // namespace quench::worker
