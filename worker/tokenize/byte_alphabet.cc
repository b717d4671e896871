#include "worker/tokenize/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "worker/tokenize/utf8.h"

namespace quench::worker {
namespace {

constexpr char32_t kFirstShifted = 0x100;
constexpr std::size_t kShifted = 68;

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct Alphabet {
  std::array<char32_t, 256> character{};
  std::array<std::int16_t, kFirstShifted + kShifted> byte{};
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  alphabet.byte.fill(-1);
  char32_t shifted = kFirstShifted;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const char32_t character = stands_for_itself(byte) ? static_cast<char32_t>(byte) : shifted++;
    alphabet.character[byte] = character;
    alphabet.byte[character] = static_cast<std::int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();
static_assert(kAlphabet.character[' '] == U'Ġ' && kAlphabet.character['\n'] == U'Ċ');

}  // namespace

void append_byte_alphabet(std::string& out, std::string_view bytes) {
  for (const char byte : bytes) utf8_append(out, kAlphabet.character[static_cast<unsigned char>(byte)]);
}

std::optional<std::string> from_byte_alphabet(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const DecodedCharacter character = utf8_decode(text, at);
    if (character.code_point >= kAlphabet.byte.size() || kAlphabet.byte[character.code_point] < 0) {
      return std::nullopt;
    }
    out.push_back(static_cast<char>(kAlphabet.byte[character.code_point]));
    at += character.bytes;
  }
  return out;
}

}  // namespace quench::worker
