// Strict JSON with places: the tree that job files, config.json, shard indexes and safetensors headers
// are read from. Duplicate keys are kept apart and reported, numbers keep their kind, every value knows
// its line and column. nlohmann/json does the lexing (and refuses bad UTF-8, NaN and overflowing numbers).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace quench {

struct JsonPlace {
  std::uint32_t line = 1;    // counted from 1
  std::uint32_t column = 1;  // in bytes, counted from 1
};

struct JsonMember;

struct JsonValue {
  using List = std::vector<JsonValue>;
  using Object = std::vector<JsonMember>;  // in the file's order; duplicates stay
  // A number without fraction or exponent is uint64 when it is not negative, else int64.
  std::variant<std::nullptr_t, bool, std::int64_t, std::uint64_t, double, std::string, List, Object> data;
  JsonPlace place;

  template <typename T>
  const T* as() const {
    return std::get_if<T>(&data);
  }
  // The first member of that name; null when absent or when this is no object. Linear in the members.
  const JsonValue* find(std::string_view key) const;
  // For error messages: `"four"`, `4.5`, `an object`; long strings are cut.
  std::string found() const;
};

struct JsonMember {
  std::string key;
  JsonPlace place;
  JsonValue value;
};

// Something wrong in a document, to be collected with others.
struct JsonMistake {
  std::string pointer;  // RFC 6901: "/quantize/0/bits"
  JsonPlace place;
  std::string text;
};

struct JsonDocument {
  JsonValue root;
  std::vector<JsonMistake> duplicates;
};

// Throws Error(bad_input) with line and column on broken syntax, on nesting deeper than 64 and on more
// than `values_max` values (which bounds the memory of hostile input).
JsonDocument parse_json(std::string_view text, std::size_t values_max);
// The same, but duplicate keys throw as well.
JsonValue parse_strict_json(std::string_view text, std::size_t values_max);

// `pointer` extended by an object's key or a list's index, escaped.
std::string pointer_to(const std::string& pointer, std::string_view key);
std::string pointer_to(const std::string& pointer, std::size_t index);

// "line 3, column 9"
std::string to_string(const JsonPlace& place);
// Throws Error(bad_input) listing the mistakes (the first 50), unless there are none.
void throw_mistakes(const std::vector<JsonMistake>& mistakes);

}  // namespace quench
