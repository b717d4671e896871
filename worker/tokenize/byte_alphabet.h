// The byte alphabet of GPT-2: each byte is written as one printable character (the space as Ġ), so
// that byte-level BPE works on text. Printable Latin-1 stands for itself; the other 68 bytes take
// U+0100 to U+0143 in order. Pure functions, safe from any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace quench::worker {

// Appends the characters that stand for `bytes`.
void append_byte_alphabet(std::string& out, std::string_view bytes);

// The bytes that `text` (well-formed UTF-8) stands for, or nothing when a character is not in the
// alphabet.
std::optional<std::string> from_byte_alphabet(std::string_view text);

}  // namespace quench::worker
