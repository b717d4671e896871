#include "worker/tokenize/sentencepiece.h"

#include <sentencepiece_processor.h>

#include "schemas/error.h"
#include "worker/tokenize/bpe_model.h"
#include "worker/tokenize/strict_json.h"
#include "worker/tokenize/utf8.h"

namespace quench::worker {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // ▁

void check(const sentencepiece::util::Status& status, const std::filesystem::path& path, const char* what) {
  if (status.ok()) return;
  throw Error(ErrorCode::bad_input, path.string() + ": " + what + ": " + status.ToString());
}

}  // namespace

SentencePiece::~SentencePiece() = default;

std::unique_ptr<SentencePiece> SentencePiece::from_file(const std::filesystem::path& path,
                                                        const SpecialSettings& settings) {
  return std::unique_ptr<SentencePiece>(new SentencePiece(path, settings));
}

SentencePiece::SentencePiece(const std::filesystem::path& path, const SpecialSettings& settings)
    : path_(path), processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()) {
  const std::string content = read_bounded_file(path, kTokenizerFileBytesMax);
  // An empty file is a valid protocol buffer without a token.
  if (content.empty()) throw Error(ErrorCode::bad_input, path.string() + ": is empty");
  check(processor_->LoadFromSerializedProto(content), path, "not a SentencePiece model");
  if (processor_->GetPieceSize() <= 0 || processor_->GetPieceSize() > kVocabularyMax) {
    throw Error(ErrorCode::bad_input, path.string() + ": has " + std::to_string(processor_->GetPieceSize()) +
                                          " tokens; expected 1 to " + std::to_string(kVocabularyMax));
  }
  add_bos_ = settings.add_bos.value_or(true);
  add_eos_ = settings.add_eos.value_or(false);
  // The library takes the dummy prefix off again, if the model has one.
  std::string text;
  check(processor_->Decode(std::vector<std::string>{std::string(kSpaceMark) + "a"}, &text), path,
        "cannot decode");
  has_dummy_prefix_ = text == "a";
}

std::vector<TokenId> SentencePiece::encode(std::string_view text, AddSpecialTokens special) const {
  std::string repaired;
  if (utf8_valid_prefix(text) != text.size()) {
    repaired = utf8_lossy(text);
    text = repaired;
  }
  std::vector<int> pieces;
  check(processor_->Encode(absl::string_view(text.data(), text.size()), &pieces), path_, "cannot encode");
  std::vector<TokenId> ids;
  ids.reserve(pieces.size() + 2);
  const bool around = special == AddSpecialTokens::yes;
  if (around && add_bos_ && bos_id()) ids.push_back(*bos_id());
  ids.insert(ids.end(), pieces.begin(), pieces.end());
  if (around && add_eos_ && eos_id()) ids.push_back(*eos_id());
  return ids;
}

std::string SentencePiece::decode(std::span<const TokenId> ids, SkipSpecialTokens special) const {
  std::string bytes;
  bool first = true;
  for (const TokenId id : ids) {
    if (!has(id)) continue;
    if (special == SkipSpecialTokens::yes && is_special(id)) continue;
    std::string token = token_bytes(id);
    if (first && has_dummy_prefix_ && !is_special(id) && token.starts_with(' ')) token.erase(0, 1);
    bytes += token;
    first = false;
  }
  return utf8_lossy(bytes);
}

std::string SentencePiece::token_bytes(TokenId id) const {
  if (!has(id)) return {};
  const std::string& piece = processor_->IdToPiece(id);
  if (processor_->IsByte(id))
    return std::string(1, static_cast<char>(std::stoi(piece.substr(3, 2), nullptr, 16)));
  std::string out;
  for (std::size_t at = 0; at < piece.size();) {
    if (piece.compare(at, kSpaceMark.size(), kSpaceMark) == 0) {
      out += ' ';
      at += kSpaceMark.size();
    } else {
      out += piece[at++];
    }
  }
  return out;
}

bool SentencePiece::is_special(TokenId id) const {
  return has(id) && (processor_->IsControl(id) || processor_->IsUnknown(id));
}

std::optional<TokenId> SentencePiece::id_of(std::string_view token) const {
  const TokenId id = processor_->PieceToId(absl::string_view(token.data(), token.size()));
  if (!has(id) || processor_->IdToPiece(id) != token) return std::nullopt;
  return id;
}

std::int32_t SentencePiece::vocabulary_size() const { return processor_->GetPieceSize(); }

std::optional<TokenId> SentencePiece::bos_id() const {
  const TokenId id = processor_->bos_id();
  return id < 0 ? std::nullopt : std::optional<TokenId>(id);
}

std::optional<TokenId> SentencePiece::eos_id() const {
  const TokenId id = processor_->eos_id();
  return id < 0 ? std::nullopt : std::optional<TokenId>(id);
}

}  // namespace quench::worker
