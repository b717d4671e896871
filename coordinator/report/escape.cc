#include "coordinator/report/escape.h"

#include <cstdint>

namespace quench::coordinator {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// Bytes of the character that begins `text`, 0 when they are not UTF-8. Overlong forms, surrogates and what
// lies beyond U+10FFFF are not.
std::size_t character_bytes(std::string_view text) {
  const auto first = static_cast<unsigned char>(text[0]);
  if (first < 0x80) return 1;
  const std::size_t count = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < count) return 0;
  for (std::size_t i = 1; i < count; ++i)
    if (!is_continuation(text[i])) return 0;
  const auto second = static_cast<unsigned char>(text[1]);
  if (first == 0xE0 && second < 0xA0) return 0;
  if (first == 0xED && second >= 0xA0) return 0;
  if (first == 0xF0 && second < 0x90) return 0;
  if (first == 0xF4 && second >= 0x90) return 0;
  return count;
}

// C0 and C1 controls and DEL, which a terminal or an editor may obey.
bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  if (character.size() == 2 && first == 0xC2) return static_cast<unsigned char>(character[1]) < 0xA0;
  return first < 0x20 || first == 0x7F;
}

// Calls `write(character)` for each character of the readable text.
template <typename Write>
void for_each_character(std::string_view text, Write write) {
  while (!text.empty()) {
    const std::size_t bytes = character_bytes(text);
    const std::string_view character = text.substr(0, bytes == 0 ? 1 : bytes);
    const bool kept = character == "\n" || character == "\t" || (bytes > 0 && !is_control(character));
    write(kept ? character : kReplacement);
    text.remove_prefix(character.size());
  }
}

std::string one_line(std::string_view text) {
  std::string line;
  for_each_character(text, [&](std::string_view character) {
    line += character == "\n" || character == "\t" ? std::string_view(" ") : character;
  });
  return line;
}

}  // namespace

std::string readable_text(std::string_view text) {
  std::string out;
  for_each_character(text, [&](std::string_view character) { out += character; });
  return out;
}

std::string html_text(std::string_view text) {
  std::string out;
  for_each_character(text, [&](std::string_view character) {
    if (character == "&")
      out += "&amp;";
    else if (character == "<")
      out += "&lt;";
    else if (character == ">")
      out += "&gt;";
    else if (character == "\"")
      out += "&quot;";
    else if (character == "'")
      out += "&#39;";
    else
      out += character;
  });
  return out;
}

std::string markdown_text(std::string_view text) {
  std::string out;
  for (const char byte : one_line(text)) {
    if (std::string_view("\\`*_[]<>|#&~$").find(byte) != std::string_view::npos) out += '\\';
    out += byte;
  }
  return out;
}

std::string latex_text(std::string_view text) {
  std::string out;
  std::string line = one_line(text);
  // No font of LaTeX's has the replacement character.
  for (std::size_t at = line.find(kReplacement); at != std::string::npos; at = line.find(kReplacement, at))
    line.replace(at, kReplacement.size(), "?");
  for (const char byte : line) switch (byte) {
      case '\\':
        out += "\\textbackslash{}";
        break;
      case '~':
        out += "\\textasciitilde{}";
        break;
      case '^':
        out += "\\textasciicircum{}";
        break;
      case '<':
        out += "\\textless{}";
        break;
      case '>':
        out += "\\textgreater{}";
        break;
      case '|':
        out += "\\textbar{}";
        break;
      case '"':
        out += "''";
        break;
      case '&':
      case '%':
      case '$':
      case '#':
      case '_':
      case '{':
      case '}':
        out += '\\';
        out += byte;
        break;
      default:
        out += byte;
    }
  return out;
}

std::string terminal_text(std::string_view text) { return one_line(text); }

std::string csv_text(std::string_view text) {
  std::string cell = readable_text(text);
  if (!cell.empty() && std::string_view("=+-@\t").find(cell[0]) != std::string_view::npos)
    cell.insert(0, "'");
  if (cell.find_first_of(",\"\n") == std::string::npos) return cell;
  std::string quoted = "\"";
  for (const char byte : cell) {
    if (byte == '"') quoted += '"';
    quoted += byte;
  }
  return quoted + "\"";
}

std::size_t text_width(std::string_view text) {
  std::size_t width = 0;
  for (const char byte : text) width += is_continuation(byte) ? 0 : 1;
  return width;
}

}  // namespace quench::coordinator
