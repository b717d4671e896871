// The tokens of a SentencePiece model file (tokenizer.model) with their scores and kinds. Debian's library installs no header
// for them, and the file is a protocol buffer of which four fields matter. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quench::coordinator {

struct SentencePieceFile {
  struct Piece {
    std::string text;
    float score = 0;
    std::int32_t kind = 1;  // 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte: GGUF's numbers too
  };
  std::vector<Piece> pieces;
  bool is_bpe = false;
  bool adds_space_first = true;         // "a" is read as "▁a"
  bool removes_extra_spaces = true;
  bool changes_characters = false;      // has rules of normalization
};

// Throws Error(bad_input) when `bytes` is no such file.
SentencePieceFile read_sentencepiece_file(std::string_view bytes);

}  // namespace quench::coordinator
