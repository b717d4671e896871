#include "worker/tokenize/tokenizer.h"

#include "schemas/error.h"
#include "worker/tokenize/byte_bpe.h"
#include "worker/tokenize/sentencepiece.h"
#include "worker/tokenize/special_settings.h"
#include "worker/tokenize/utf8.h"

namespace quench::worker {

std::string Tokenizer::decode_continuation(std::span<const TokenId> ids) const {
  std::string bytes;
  for (const TokenId id : ids) {
    if (!is_special(id)) bytes += token_bytes(id);
  }
  return utf8_lossy(bytes);
}

void Tokenizer::check_fits(std::int64_t model_vocabulary) const {
  if (vocabulary_size() <= model_vocabulary) return;
  throw Error(ErrorCode::bad_input,
              path().string() + ": its largest token id is " + std::to_string(vocabulary_size() - 1) +
                  ", but the model has " + std::to_string(model_vocabulary) +
                  " tokens (ids below that); use the tokenizer that belongs to the model");
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& model_dir) {
  std::error_code error;
  if (!std::filesystem::is_directory(model_dir, error)) {
    throw Error(ErrorCode::bad_input, model_dir.string() +
                                          ": no such directory; expected a model directory in "
                                          "Hugging Face's form");
  }
  const SpecialSettings settings = read_special_settings(model_dir);
  const std::filesystem::path json = model_dir / "tokenizer.json";
  if (std::filesystem::exists(json, error)) return ByteBpe::from_file(json, settings);
  const std::filesystem::path model = model_dir / "tokenizer.model";
  if (std::filesystem::exists(model, error)) return SentencePiece::from_file(model, settings);
  throw Error(ErrorCode::bad_input, model_dir.string() +
                                        ": has neither tokenizer.json nor tokenizer.model; copy "
                                        "one from where the model was published");
}

}  // namespace quench::worker
