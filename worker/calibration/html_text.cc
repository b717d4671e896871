#include "worker/calibration/html_text.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <optional>
#include <utility>

#include "worker/tokenize/utf8.h"

namespace quench::worker {
namespace {

constexpr std::size_t kEntityBytesMax = 12;
constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kEntities{{{"lt", "<"},
                                                                                   {"gt", ">"},
                                                                                   {"amp", "&"},
                                                                                   {"quot", "\""},
                                                                                   {"apos", "'"},
                                                                                   {"nbsp", " "},
                                                                                   {"hellip", "\u2026"},
                                                                                   {"mdash", "\u2014"},
                                                                                   {"ndash", "\u2013"},
                                                                                   {"rsquo", "\u2019"}}};
constexpr std::array<std::string_view, 17> kBlocks{"p",  "div", "br", "hr", "pre",       "ul",
                                                   "ol", "li",  "h1", "h2", "h3",        "h4",
                                                   "h5", "h6",  "tr", "dd", "blockquote"};

// What "&name;" stands for; nothing when it is not an entity.
std::optional<std::string> resolved(std::string_view name) {
  for (const auto& [known, text] : kEntities)
    if (name == known) return std::string(text);
  if (!name.starts_with('#') || name.size() < 2) return std::nullopt;
  const bool is_hex = name[1] == 'x' || name[1] == 'X';
  const std::string_view digits = name.substr(is_hex ? 2 : 1);
  std::uint32_t code = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), code, is_hex ? 16 : 10);
  if (digits.empty() || error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  if (code == 0 || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return std::nullopt;
  std::string text;
  utf8_append(text, code);
  return text;
}

class Writer {
 public:
  void tag(std::string_view inner) {
    const bool closes = inner.starts_with('/');
    if (closes) inner.remove_prefix(1);
    std::string name;
    for (const char c : inner) {
      if (std::isalnum(static_cast<unsigned char>(c)) == 0) break;
      name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    if (name == "pre") pre_ = !closes;
    if (name == "code") code_ = !closes;
    if (std::find(kBlocks.begin(), kBlocks.end(), name) == kBlocks.end()) return;
    new_line();
    if (name == "li" && !closes) out_.text += "- ";
  }

  void text(std::string_view part) {
    for (const char c : part) {
      const bool is_space = std::isspace(static_cast<unsigned char>(c)) != 0;
      if (pre_ || !is_space) {
        out_.text += c;
      } else if (!out_.text.empty() && std::isspace(static_cast<unsigned char>(out_.text.back())) == 0) {
        out_.text += ' ';
      }
      if (!pre_ && !code_) out_.prose += is_space ? ' ' : c;
    }
  }

  HtmlText finish() {
    while (!out_.text.empty() && std::isspace(static_cast<unsigned char>(out_.text.back())) != 0)
      out_.text.pop_back();
    return std::move(out_);
  }

 private:
  void new_line() {
    while (!out_.text.empty() && out_.text.back() == ' ') out_.text.pop_back();
    if (!out_.text.empty() && !out_.text.ends_with('\n')) out_.text += '\n';
    out_.prose += ' ';
  }

  HtmlText out_;
  bool pre_ = false;
  bool code_ = false;
};

}  // namespace

HtmlText text_of_html(std::string_view html) {
  Writer writer;
  while (!html.empty()) {
    if (html[0] == '<') {
      const std::size_t end = html.find('>');
      if (end != std::string_view::npos) {
        writer.tag(html.substr(1, end - 1));
        html.remove_prefix(end + 1);
        continue;
      }
    }
    if (html[0] == '&') {
      const std::size_t end = html.substr(0, kEntityBytesMax).find(';');
      if (end != std::string_view::npos) {
        if (const auto text = resolved(html.substr(1, end - 1))) {
          writer.text(*text);
          html.remove_prefix(end + 1);
          continue;
        }
      }
    }
    const std::size_t next = std::min(html.find_first_of("<&", 1), html.size());
    writer.text(html.substr(0, next));
    html.remove_prefix(next);
  }
  return writer.finish();
}

}  // namespace quench::worker
