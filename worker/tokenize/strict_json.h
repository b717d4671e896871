// Reading the JSON of a tokenizer strictly: bounded size and depth, no duplicate keys, no trailing
// text, and every mistake named by file and JSON pointer. A `JsonNode` is a view of one value that
// knows where it is; it stays valid while its `JsonFile` lives. One thread at a time reads it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace quench::worker {

// A tokenizer.json of 2^20 tokens and as many merges is below 100 MB; real ones are 1 to 20 MB.
inline constexpr std::uintmax_t kTokenizerFileBytesMax = 256u << 20;
// Real files nest 7 deep.
inline constexpr std::size_t kJsonDepthMax = 64;

class JsonNode {
 public:
  JsonNode(const nlohmann::json& value, std::string pointer) : value_(&value), pointer_(std::move(pointer)) {}

  const nlohmann::json& value() const { return *value_; }
  // RFC 6901; "" is the whole document.
  const std::string& pointer() const { return pointer_; }
  bool is_null() const { return value_->is_null(); }
  bool is_string() const { return value_->is_string(); }
  bool is_array() const { return value_->is_array(); }
  bool is_object() const { return value_->is_object(); }
  bool has(const char* key) const { return value_->is_object() && value_->contains(key); }

  // A member or element. get() throws Error(bad_input) when it is missing.
  JsonNode get(const char* key) const;
  JsonNode at(std::size_t index) const;
  // Number of members; throws Error(bad_input) unless an object.
  std::size_t size_of_object() const;
  // Array length; throws Error(bad_input) unless an array.
  std::size_t size() const;

  // Throw Error(bad_input) unless the value has the type.
  const std::string& as_string() const;
  bool as_bool() const;
  std::int64_t as_integer(std::int64_t min, std::int64_t max) const;
  void expect_object() const;
  // Every key must be listed: a key that we do not know is a feature that we would not honour.
  void expect_keys(std::initializer_list<std::string_view> known) const;

  // A member that may be missing or null.
  bool bool_or(const char* key, bool fallback) const;
  std::string string_or(const char* key, const std::string& fallback) const;

  // Error(bad_input) at this place. `what` says what was found and expected.
  [[noreturn]] void fail(const std::string& what) const;

 private:
  const nlohmann::json* value_;
  std::string pointer_;
};

// "/a~1b" for the key "a/b" below "".
std::string child_pointer(const std::string& parent, std::string_view key);

// Parses `text`. Throws Error(bad_input) with byte offset or JSON pointer.
nlohmann::json parse_strict_json(std::string_view text);

// Reads and parses a file of at most `bytes_max`. Throws Error(bad_input) naming the file.
nlohmann::json read_strict_json(const std::filesystem::path& path,
                                std::uintmax_t bytes_max = kTokenizerFileBytesMax);

// The whole file. Throws Error(bad_input) when it is not a regular file, longer, or unreadable.
std::string read_bounded_file(const std::filesystem::path& path, std::uintmax_t bytes_max);

}  // namespace quench::worker
