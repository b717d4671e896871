#include "schemas/json_document.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <iterator>
#include <nlohmann/json.hpp>

#include "schemas/error.h"

namespace quench {
namespace {

constexpr std::size_t kDepthMax = 64;
constexpr std::size_t kMistakesShownMax = 50;

// Feeds the lexer and tells how far it has read.
class TrackingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TrackingIterator(const char* at, const char** furthest) : at_(at), furthest_(furthest) {}
  const char& operator*() const { return *at_; }
  TrackingIterator& operator++() {
    *furthest_ = ++at_;
    return *this;
  }
  TrackingIterator operator++(int) {
    TrackingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const TrackingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const TrackingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** furthest_;
};

// Receives nlohmann's events and builds the tree.
class TreeBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  TreeBuilder(std::string_view text, std::size_t values_max)
      : text_(text), values_left_(values_max), furthest_(text.data()) {}

  const char** furthest() { return &furthest_; }
  JsonDocument take() { return std::move(document_); }

  bool null() override { return add(nullptr, word_start()); }
  bool boolean(bool value) override { return add(value, word_start()); }
  bool number_integer(std::int64_t value) override { return add(value, word_start()); }
  bool number_unsigned(std::uint64_t value) override { return add(value, word_start()); }
  bool number_float(double value, const std::string&) override { return add(value, word_start()); }
  bool string(std::string& value) override { return add(std::move(value), string_start()); }
  bool binary(binary_t&) override { return false; }  // never in text
  bool start_object(std::size_t) override { return open(JsonValue::Object{}); }
  bool start_array(std::size_t) override { return open(JsonValue::List{}); }
  bool end_array() override { return close(); }

  bool key(std::string& name) override {
    std::get<JsonValue::Object>(open_.back()->data)
        .push_back({std::move(name), place_of(string_start()), {}});
    return true;
  }

  bool end_object() override {
    report_duplicates(std::get<JsonValue::Object>(open_.back()->data));
    return close();
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception& exception) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error while …"
    std::string what = exception.what();
    if (const auto end = what.find("] "); end != std::string::npos) what.erase(0, end + 2);
    if (what.starts_with("parse error at ")) {
      if (const auto colon = what.find(": "); colon != std::string::npos) what.erase(0, colon + 2);
    }
    fail(what);
  }

 private:
  [[noreturn]] void fail(const std::string& what) {
    const std::size_t read = static_cast<std::size_t>(furthest_ - text_.data());
    throw Error(ErrorCode::bad_input, to_string(place_of(read == 0 ? 0 : read - 1)) + ": " + what);
  }

  template <typename T>
  bool add(T&& value, std::size_t start) {
    if (values_left_-- == 0) fail("too many values for a file of this kind");
    JsonValue& slot = next_slot();
    slot.data = std::forward<T>(value);
    slot.place = place_of(start);
    last_ = &slot;
    return true;
  }

  template <typename Container>
  bool open(Container&& container) {
    if (open_.size() >= kDepthMax) fail("nested deeper than " + std::to_string(kDepthMax) + " levels");
    add(std::forward<Container>(container), read_before(1));
    open_.push_back(last_);  // stays in place: its parent grows only after it is closed
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  JsonValue& next_slot() {
    if (open_.empty()) return document_.root;
    if (auto* list = std::get_if<JsonValue::List>(&open_.back()->data)) return list->emplace_back();
    return std::get<JsonValue::Object>(open_.back()->data).back().value;
  }

  void report_duplicates(const JsonValue::Object& members) {
    std::vector<const JsonMember*> sorted;
    for (const JsonMember& member : members) sorted.push_back(&member);
    std::stable_sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) { return a->key < b->key; });
    for (std::size_t i = 1; i < sorted.size(); ++i) {
      if (sorted[i]->key != sorted[i - 1]->key) continue;
      document_.duplicates.push_back(
          {pointer_to(open_pointer(), sorted[i]->key), sorted[i]->place,
           "this key is given twice; first at " + to_string(sorted[i - 1]->place)});
    }
  }

  std::string open_pointer() const {
    std::string pointer;
    for (std::size_t depth = 0; depth + 1 < open_.size(); ++depth) {
      if (const auto* list = std::get_if<JsonValue::List>(&open_[depth]->data)) {
        pointer = pointer_to(pointer, list->size() - 1);
      } else {
        pointer = pointer_to(pointer, std::get<JsonValue::Object>(open_[depth]->data).back().key);
      }
    }
    return pointer;
  }

  // Offsets of the token just read. The lexer reads one character beyond a number.
  std::size_t read_before(std::size_t bytes) const {
    const auto read = static_cast<std::size_t>(furthest_ - text_.data());
    return read < bytes ? 0 : read - bytes;
  }
  std::size_t word_start() const {
    const auto in_word = [&](std::size_t i) {
      const char c = text_[i];
      return std::isalnum(static_cast<unsigned char>(c)) || c == '+' || c == '-' || c == '.';
    };
    std::size_t start = read_before(0);
    if (start > 0 && !in_word(start - 1)) --start;
    while (start > 0 && in_word(start - 1)) --start;
    return start;
  }
  std::size_t string_start() const {
    std::size_t start = read_before(1);  // at the closing quote
    while (start > 0) {
      --start;
      if (text_[start] != '"') continue;
      std::size_t backslashes = 0;
      while (backslashes < start && text_[start - 1 - backslashes] == '\\') ++backslashes;
      if (backslashes % 2 == 0) break;
    }
    return start;
  }

  // Tokens come in order, so lines are counted once. Asking backwards is allowed within a line.
  JsonPlace place_of(std::size_t offset) {
    while (counted_ < offset) {
      if (text_[counted_++] == '\n') {
        ++line_;
        line_start_ = counted_;
      }
    }
    return {line_, static_cast<std::uint32_t>(offset >= line_start_ ? offset - line_start_ + 1 : 1)};
  }

  std::string_view text_;
  std::size_t values_left_;
  const char* furthest_;
  JsonDocument document_;
  std::vector<JsonValue*> open_;
  JsonValue* last_ = nullptr;
  std::size_t counted_ = 0, line_start_ = 0;
  std::uint32_t line_ = 1;
};

std::string escaped(std::string_view key) {
  std::string out;
  for (const char c : key) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += static_cast<unsigned char>(c) < 0x20 ? '?' : c;
    }
    if (out.size() > 120) return out + "…";
  }
  return out;
}

}  // namespace

const JsonValue* JsonValue::find(std::string_view key) const {
  const Object* members = as<Object>();
  if (members == nullptr) return nullptr;
  for (const JsonMember& member : *members)
    if (member.key == key) return &member.value;
  return nullptr;
}

std::string JsonValue::found() const {
  struct Describe {
    std::string operator()(std::nullptr_t) const { return "null"; }
    std::string operator()(bool value) const { return value ? "true" : "false"; }
    std::string operator()(std::int64_t value) const { return std::to_string(value); }
    std::string operator()(std::uint64_t value) const { return std::to_string(value); }
    std::string operator()(double value) const {
      char text[40];
      const auto end = std::to_chars(text, text + sizeof text, value).ptr;
      std::string number(text, end);
      return number.find_first_of(".e") == std::string::npos ? number + ".0" : number;
    }
    std::string operator()(const std::string& value) const {
      std::string shown = value.size() > 40 ? value.substr(0, 40) + "…" : value;
      std::replace_if(
          shown.begin(), shown.end(), [](unsigned char c) { return c < 0x20; }, '?');
      return '"' + shown + '"';
    }
    std::string operator()(const List&) const { return "a list"; }
    std::string operator()(const Object&) const { return "an object"; }
  };
  return std::visit(Describe{}, data);
}

JsonDocument parse_json(std::string_view text, std::size_t values_max) {
  TreeBuilder builder(text, values_max);
  nlohmann::json::sax_parse(TrackingIterator(text.data(), builder.furthest()),
                            TrackingIterator(text.data() + text.size(), builder.furthest()), &builder);
  return builder.take();
}

JsonValue parse_strict_json(std::string_view text, std::size_t values_max) {
  JsonDocument document = parse_json(text, values_max);
  throw_mistakes(document.duplicates);
  return std::move(document.root);
}

std::string pointer_to(const std::string& pointer, std::string_view key) {
  return pointer + "/" + escaped(key);
}

std::string pointer_to(const std::string& pointer, std::size_t index) {
  return pointer + "/" + std::to_string(index);
}

std::string to_string(const JsonPlace& place) {
  return "line " + std::to_string(place.line) + ", column " + std::to_string(place.column);
}

void throw_mistakes(const std::vector<JsonMistake>& mistakes) {
  if (mistakes.empty()) return;
  const auto line = [](const JsonMistake& mistake) {
    return (mistake.pointer.empty() ? std::string() : mistake.pointer + " ") + "(" +
           to_string(mistake.place) + "): " + mistake.text;
  };
  if (mistakes.size() == 1) throw Error(ErrorCode::bad_input, line(mistakes.front()));
  std::string text = std::to_string(mistakes.size()) + " mistakes:";
  for (std::size_t i = 0; i < mistakes.size() && i < kMistakesShownMax; ++i)
    text += "\n  " + line(mistakes[i]);
  if (mistakes.size() > kMistakesShownMax)
    text += "\n  and " + std::to_string(mistakes.size() - kMistakesShownMax) + " more";
  throw Error(ErrorCode::bad_input, text);
}

}  // namespace quench
