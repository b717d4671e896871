// Text to token ids and back, as the model's own tokenizer files define it. The ids are those of the
// Hugging Face tokenizers library for tokenizer.json, and of SentencePiece for tokenizer.model.
// A tokenizer is immutable after loading: every method is const and may be called from any thread at
// once. It knows no model: check_fits() says whether a model's vocabulary can hold its ids.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quench::worker {

using TokenId = std::int32_t;

// Whether encode() applies the post-processor's template (for LLaMA: <s> before the text).
enum class AddSpecialTokens { no, yes };
// Whether decode() leaves out special tokens (<s>, <|endoftext|>, …).
enum class SkipSpecialTokens { no, yes };

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;

  // Ids of `text`. Bytes that are not UTF-8 are replaced first, each maximal ill-formed part by one
  // U+FFFD (as Rust's from_utf8_lossy and Python's errors="replace" do), so encode never fails on
  // text. Throws Error(bad_input) when a pre-tokenizer pattern exceeds its matching budget: the
  // tokenizer file is hostile or the text is pathological for it.
  virtual std::vector<TokenId> encode(std::string_view text, AddSpecialTokens special) const = 0;

  // The text of a whole sequence. Always valid UTF-8: ill-formed bytes become U+FFFD. The space that
  // SentencePiece-style tokenizers put before a text is taken off again. Ids without a token (a
  // model's padded vocabulary) give nothing.
  virtual std::string decode(std::span<const TokenId> ids, SkipSpecialTokens special) const = 0;

  // The bytes that token `id` adds in the middle of a text: perhaps a part of a UTF-8 character, a
  // leading space kept. Concatenated over ids they are the text, which makes them right for streaming
  // and stop strings. A special token gives its own name; an id without a token gives "".
  virtual std::string token_bytes(TokenId id) const = 0;

  // True for <s>, <|endoftext|>, …: what SkipSpecialTokens::yes leaves out.
  virtual bool is_special(TokenId id) const = 0;

  // The id of a token by its name in the file ("<s>", "Ġthe", "▁the"), if there is one.
  virtual std::optional<TokenId> id_of(std::string_view token) const = 0;

  // The largest id in the file plus one; ids below it may be unused.
  virtual std::int32_t vocabulary_size() const = 0;

  // From tokenizer_config.json, special_tokens_map.json, generation_config.json, config.json, in this
  // order; SentencePiece files carry their own.
  virtual std::optional<TokenId> bos_id() const = 0;
  virtual std::optional<TokenId> eos_id() const = 0;

  // The file the tokenizer was read from, for messages.
  virtual const std::filesystem::path& path() const = 0;

  // The text that `ids` add after a prompt: token_bytes() of all that are not special, as valid
  // UTF-8. Unlike decode() it keeps the first token's leading space, which a completion needs.
  std::string decode_continuation(std::span<const TokenId> ids) const;

  // Throws Error(bad_input) naming the file, the largest id and `model_vocabulary` unless every id
  // is below `model_vocabulary`.
  void check_fits(std::int64_t model_vocabulary) const;

 protected:
  Tokenizer() = default;
};

// Reads tokenizer.json from `model_dir`, else tokenizer.model. Throws Error(bad_input) naming file,
// place (JSON pointer) and remedy when neither is there or one is malformed, too large, or of a
// feature that Quench does not know: nothing in a file is ever silently ignored.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& model_dir);

}  // namespace quench::worker
