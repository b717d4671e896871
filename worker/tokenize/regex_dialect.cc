#include "worker/tokenize/regex_dialect.h"

#include <string_view>

#include "schemas/error.h"

namespace quench::worker {
namespace {

[[noreturn]] void refuse(const std::string& pattern, std::size_t at, const std::string& what) {
  throw Error(ErrorCode::bad_input, "the pattern \"" + pattern + "\" uses " + what + " at byte " +
                                        std::to_string(at) +
                                        ", which Quench does not match as the tokenizers library does");
}

// \w and \b: PCRE2 10.42 leaves marks and connectors out of words. \h, \H: a hexadecimal digit in Ruby,
// a blank in PCRE2. \v: one character in Ruby, six in PCRE2. \K, \G, \g, \k, \C, \Q, \N, \R, \X, \O, \y: not
// the same, or not in both.
constexpr std::string_view kOtherEscapes = "wWbBhHKGgkCQENRXOyYAzZ0123456789cMuv";

// What \s is in Oniguruma: White_Space. PCRE2's has U+180E too.
constexpr std::string_view kWhiteSpace =
    R"(\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";

enum class Place { in_class, outside };

// Copies the escape at `at` to `out`. Returns the offset after it.
std::size_t copy_escape(const std::string& pattern, std::size_t at, Place place, std::string& out) {
  if (at + 1 >= pattern.size()) {  // PCRE2 reports the lone backslash
    out += pattern[at];
    return at + 1;
  }
  const char c = pattern[at + 1];
  if (kOtherEscapes.find(c) != std::string_view::npos) refuse(pattern, at, std::string("\\") + c);
  if (c == 's') {
    out += place == Place::in_class ? std::string(kWhiteSpace) : "[" + std::string(kWhiteSpace) + "]";
  } else if (c == 'S' && place == Place::outside) {
    out += "[^" + std::string(kWhiteSpace) + "]";
  } else if (c == 'S') {
    refuse(pattern, at, "\\S inside a character class");
  } else {
    // \p{…} and \x{…} whole: their braces are no repeat.
    const bool braced = std::string_view("pPx").find(c) != std::string_view::npos &&
                        at + 2 < pattern.size() && pattern[at + 2] == '{';
    const std::size_t close = braced ? pattern.find('}', at) : std::string::npos;
    const std::size_t end = close == std::string::npos ? at + 2 : close + 1;
    out.append(pattern, at, end - at);
    return end;
  }
  return at + 2;
}

// `at` is the opening bracket. Returns the offset after the closing one.
std::size_t copy_class(const std::string& pattern, std::size_t at, std::string& out) {
  std::size_t i = at + 1;
  if (i < pattern.size() && pattern[i] == '^') ++i;
  if (i < pattern.size() && pattern[i] == ']') refuse(pattern, i, "an empty or ]-first character class");
  out.append(pattern, at, i - at);
  while (i < pattern.size() && pattern[i] != ']') {
    if (pattern[i] == '\\') {
      i = copy_escape(pattern, i, Place::in_class, out);
      continue;
    }
    if (pattern[i] == '[') refuse(pattern, i, "a character class inside a character class");
    if (pattern.compare(i, 2, "&&") == 0) refuse(pattern, i, "a class intersection (&&)");
    out += pattern[i++];
  }
  if (i < pattern.size()) out += pattern[i++];
  return i;
}

// `at` is the opening parenthesis. Only (…), (?:…), look-around, atomic groups and (?i:…) are taken.
void check_group(const std::string& pattern, std::size_t at) {
  const std::string_view rest = std::string_view(pattern).substr(at);
  if (rest.starts_with("(*")) refuse(pattern, at, "a verb");
  if (!rest.starts_with("(?")) return;
  for (const std::string_view known : {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:", "(?-i:"}) {
    if (rest.starts_with(known)) return;
  }
  // Elsewhere its reach over alternatives differs.
  if (at == 0 && rest.starts_with("(?i)")) return;
  refuse(pattern, at, "the group \"" + std::string(rest.substr(0, 4)) + "\"");
}

// {n,m}+ is possessive in PCRE2 and a repeated repeat in Ruby; Ruby also reads {,n}.
void check_repeat(const std::string& pattern, std::size_t at) {
  const std::size_t close = pattern.find('}', at);
  if (close == std::string::npos) return;
  if (at + 1 < pattern.size() && pattern[at + 1] == ',') refuse(pattern, at, "a repeat without a minimum");
  if (close + 1 < pattern.size() && pattern[close + 1] == '+') refuse(pattern, at, "a repeat {…}+");
}

}  // namespace

std::string to_pcre2_dialect(const std::string& pattern) {
  std::string out;
  std::size_t i = 0;
  while (i < pattern.size()) {
    if (pattern[i] == '\\') {
      i = copy_escape(pattern, i, Place::outside, out);
      continue;
    }
    if (pattern[i] == '[') {
      i = copy_class(pattern, i, out);
      continue;
    }
    if (pattern[i] == '(') check_group(pattern, i);
    if (pattern[i] == '{') check_repeat(pattern, i);
    out += pattern[i++];
  }
  return out;
}

bool uses_categories(const std::string& pattern) {
  for (std::size_t i = 0; i + 1 < pattern.size(); ++i) {
    if (pattern[i] != '\\') continue;
    if (std::string_view("pPdD").find(pattern[i + 1]) != std::string_view::npos) return true;
    ++i;
  }
  return false;
}

}  // namespace quench::worker
