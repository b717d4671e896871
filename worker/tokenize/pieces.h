// A text on its way to the model, cut into pieces. Splitting stages only move the cuts; rewriting
// stages (byte alphabet, ▁ for spaces) replace the text. Value type, one thread at a time.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace quench::worker {

struct Piece {
  std::size_t begin;
  std::size_t end;
  // Whether it begins where the whole input begins; Metaspace's prepend scheme "first" asks.
  bool at_input_start;
};

struct Pieces {
  std::string text;  // well-formed UTF-8
  std::vector<Piece> cuts;

  std::string_view view(const Piece& piece) const {
    return std::string_view(text).substr(piece.begin, piece.end - piece.begin);
  }
};

}  // namespace quench::worker
