// UTF-8: reading, writing and repairing. Every text is made well formed once, on entry; what follows
// (PCRE2 without its own check, the merge) may then rely on it. Pure functions, safe from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace quench::worker {

struct DecodedCharacter {
  char32_t code_point;
  std::size_t bytes;
};

// The length of the well-formed character at `at`, or 0 when the bytes there are not one (overlong,
// surrogate, above U+10FFFF, truncated).
std::size_t utf8_length_at(std::string_view text, std::size_t at);

// The offset of the first ill-formed byte, or text.size().
std::size_t utf8_valid_prefix(std::string_view text);

// Each maximal ill-formed part becomes one U+FFFD (Unicode 15, section 3.9, table 3-8; what Rust's
// from_utf8_lossy and Python's errors="replace" do).
std::string utf8_lossy(std::string_view bytes);

// The character that starts at `at`. `text` must be well formed and `at` a character boundary.
inline DecodedCharacter utf8_decode(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {static_cast<char32_t>((lead & 0x1F) << 6 | (byte(1) & 0x3F)), 2};
  if (lead < 0xF0) {
    return {static_cast<char32_t>((lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F)), 3};
  }
  return {static_cast<char32_t>((lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 |
                                (byte(3) & 0x3F)),
          4};
}

// The offset of the character that ends at `end` (> 0) in well-formed `text`.
inline std::size_t utf8_previous(std::string_view text, std::size_t end) {
  do {
    --end;
  } while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80);
  return end;
}

// Appends a scalar value (not a surrogate, at most U+10FFFF).
inline void utf8_append(std::string& out, char32_t c) {
  if (c < 0x80) {
    out.push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out.push_back(static_cast<char>(0xC0 | c >> 6));
    out.push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else if (c < 0x10000) {
    out.push_back(static_cast<char>(0xE0 | c >> 12));
    out.push_back(static_cast<char>(0x80 | (c >> 6 & 0x3F)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3F)));
  } else {
    out.push_back(static_cast<char>(0xF0 | c >> 18));
    out.push_back(static_cast<char>(0x80 | (c >> 12 & 0x3F)));
    out.push_back(static_cast<char>(0x80 | (c >> 6 & 0x3F)));
    out.push_back(static_cast<char>(0x80 | (c & 0x3F)));
  }
}

}  // namespace quench::worker
