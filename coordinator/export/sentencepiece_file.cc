#include "coordinator/export/sentencepiece_file.h"

#include <cstring>

#include "schemas/error.h"

namespace quench::coordinator {
namespace {

[[noreturn]] void broken() { throw Error(ErrorCode::bad_input, "tokenizer.model is not a SentencePiece model: copy it again"); }

// Walks the fields of one message of a protocol buffer.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : left_(bytes) {}

  // False at the end. Afterwards one of number(), real() and bytes() is the field's value.
  bool next() {
    if (left_.empty()) return false;
    const std::uint64_t key = varint();
    field_ = key >> 3;
    number_ = 0;
    bytes_ = {};
    switch (key & 7) {
      case 0: number_ = varint(); break;
      case 1: bytes_ = take(8); break;
      case 2: bytes_ = take(varint()); break;
      case 5: bytes_ = take(4); break;
      default: broken();
    }
    return true;
  }
  std::uint64_t field() const { return field_; }
  std::uint64_t number() const { return number_; }
  std::string_view bytes() const { return bytes_; }
  float real() const {
    if (bytes_.size() != sizeof(float)) broken();
    float value;
    std::memcpy(&value, bytes_.data(), sizeof value);
    return value;
  }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const std::uint8_t byte = static_cast<std::uint8_t>(take(1).front());
      value |= std::uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    broken();
  }
  std::string_view take(std::uint64_t count) {
    if (count > left_.size()) broken();
    const std::string_view taken = left_.substr(0, count);
    left_.remove_prefix(count);
    return taken;
  }

  std::string_view left_, bytes_;
  std::uint64_t field_ = 0, number_ = 0;
};

SentencePieceFile::Piece piece_of(std::string_view bytes) {
  SentencePieceFile::Piece piece;
  for (Fields fields(bytes); fields.next();) {
    if (fields.field() == 1) piece.text = fields.bytes();
    if (fields.field() == 2) piece.score = fields.real();
    if (fields.field() == 3) piece.kind = static_cast<std::int32_t>(fields.number());
  }
  if (piece.kind < 1 || piece.kind > 6) broken();
  return piece;
}

}  // namespace

SentencePieceFile read_sentencepiece_file(std::string_view bytes) {
  SentencePieceFile file;
  for (Fields model(bytes); model.next();) {
    if (model.field() == 1) file.pieces.push_back(piece_of(model.bytes()));
    if (model.field() == 2)
      for (Fields trainer(model.bytes()); trainer.next();)
        if (trainer.field() == 3) file.is_bpe = trainer.number() == 2;
    if (model.field() == 3)
      for (Fields normalizer(model.bytes()); normalizer.next();) {
        if (normalizer.field() == 2) file.changes_characters = !normalizer.bytes().empty();
        if (normalizer.field() == 3) file.adds_space_first = normalizer.number() != 0;
        if (normalizer.field() == 4) file.removes_extra_spaces = normalizer.number() != 0;
      }
  }
  if (file.pieces.empty()) broken();
  return file;
}

}  // namespace quench::coordinator
