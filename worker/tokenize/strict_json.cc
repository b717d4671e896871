#include "worker/tokenize/strict_json.h"

#include <cerrno>
#include <fstream>
#include <system_error>
#include <vector>

#include "schemas/error.h"

namespace quench::worker {
namespace {

using nlohmann::json;

// Builds the document and refuses what nlohmann's own builder lets pass: duplicate keys, depth.
class StrictBuilder final : public json::json_sax_t {
 public:
  json take() { return std::move(root_); }

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(number_integer_t value) override { return put(value); }
  bool number_unsigned(number_unsigned_t value) override { return put(value); }
  bool number_float(number_float_t value, const string_t&) override { return put(value); }
  bool string(string_t& value) override { return put(std::move(value)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(json::object()); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    json& object = *stack_.back();
    const auto [place, inserted] = object.get_ref<json::object_t&>().emplace(name, nullptr);
    if (!inserted) {
      throw Error(ErrorCode::bad_input,
                  "duplicate key at " + child_pointer(pointer(), name) + ": every key may appear once");
    }
    slot_ = &place->second;
    names_.back() = std::move(name);
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const json::exception& error) override {
    throw Error(ErrorCode::bad_input,
                "not JSON at byte " + std::to_string(position) + ": " + std::string(error.what()));
  }

 private:
  json* place(json value) {
    if (stack_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    if (stack_.back()->is_array()) {
      auto& array = stack_.back()->get_ref<json::array_t&>();
      array.push_back(std::move(value));
      return &array.back();
    }
    *slot_ = std::move(value);
    return slot_;
  }

  bool put(json value) {
    place(std::move(value));
    return true;
  }

  bool open(json value) {
    if (stack_.size() >= kJsonDepthMax) {
      throw Error(ErrorCode::bad_input, "nested deeper than " + std::to_string(kJsonDepthMax) + " levels");
    }
    stack_.push_back(place(std::move(value)));
    names_.emplace_back();
    return true;
  }

  bool close() {
    stack_.pop_back();
    names_.pop_back();
    return true;
  }

  // Of the innermost open container.
  std::string pointer() const {
    std::string out;
    for (std::size_t level = 0; level + 1 < stack_.size(); ++level) {
      out = stack_[level]->is_array() ? out + "/" + std::to_string(stack_[level]->size() - 1)
                                      : child_pointer(out, names_[level]);
    }
    return out;
  }

  json root_;
  std::vector<json*> stack_;        // open containers, outermost first
  std::vector<std::string> names_;  // the key being read in each, empty for arrays
  json* slot_ = nullptr;            // where the value of the last key goes
};

}  // namespace

std::string child_pointer(const std::string& parent, std::string_view key) {
  std::string out = parent + "/";
  for (const char c : key) {
    if (c == '~') {
      out += "~0";
    } else if (c == '/') {
      out += "~1";
    } else {
      out += c;
    }
  }
  return out;
}

json parse_strict_json(std::string_view text) {
  StrictBuilder builder;
  json::sax_parse(text.begin(), text.end(), &builder);
  return builder.take();
}

std::string read_bounded_file(const std::filesystem::path& path, std::uintmax_t bytes_max) {
  std::error_code error;
  // A fifo or device would block or never end.
  if (!std::filesystem::is_regular_file(path, error)) {
    throw Error(ErrorCode::bad_input, path.string() + ": not a regular file, or not readable");
  }
  const std::uintmax_t bytes = std::filesystem::file_size(path, error);
  if (error) throw errno_error(ErrorCode::bad_input, "cannot read " + path.string(), error.value());
  if (bytes > bytes_max) {
    throw Error(ErrorCode::bad_input, path.string() + ": has " + std::to_string(bytes) +
                                          " bytes, but at most " + std::to_string(bytes_max) +
                                          " are accepted; is this the right file?");
  }
  std::string content(bytes, '\0');
  std::ifstream in(path, std::ios::binary);
  if (!in) throw errno_error(ErrorCode::bad_input, "cannot open " + path.string(), errno);
  in.read(content.data(), static_cast<std::streamsize>(bytes));
  if (static_cast<std::uintmax_t>(in.gcount()) != bytes) {
    throw Error(ErrorCode::bad_input, path.string() + ": ends early; was it written to while it was read?");
  }
  return content;
}

json read_strict_json(const std::filesystem::path& path, std::uintmax_t bytes_max) {
  const std::string content = read_bounded_file(path, bytes_max);
  return in_context(path.string(), [&] { return parse_strict_json(content); });
}

void JsonNode::fail(const std::string& what) const {
  throw Error(ErrorCode::bad_input, "at " + (pointer_.empty() ? std::string("/") : pointer_) + ": " + what);
}

JsonNode JsonNode::get(const char* key) const {
  expect_object();
  const auto found = value_->find(key);
  if (found == value_->end()) fail(std::string("the key \"") + key + "\" is missing");
  return JsonNode(*found, child_pointer(pointer_, key));
}

JsonNode JsonNode::at(std::size_t index) const {
  if (index >= size()) fail("expected at least " + std::to_string(index + 1) + " elements");
  return JsonNode((*value_)[index], pointer_ + "/" + std::to_string(index));
}

std::size_t JsonNode::size() const {
  if (!value_->is_array()) fail(std::string("expected an array, found ") + value_->type_name());
  return value_->size();
}

std::size_t JsonNode::size_of_object() const {
  expect_object();
  return value_->size();
}

const std::string& JsonNode::as_string() const {
  if (!value_->is_string()) fail(std::string("expected a string, found ") + value_->type_name());
  return value_->get_ref<const std::string&>();
}

bool JsonNode::as_bool() const {
  if (!value_->is_boolean()) fail(std::string("expected true or false, found ") + value_->type_name());
  return value_->get<bool>();
}

std::int64_t JsonNode::as_integer(std::int64_t min, std::int64_t max) const {
  const std::string range = "an integer from " + std::to_string(min) + " to " + std::to_string(max);
  if (!value_->is_number_integer()) fail("expected " + range + ", found " + value_->type_name());
  const bool too_large = value_->is_number_unsigned() && value_->get<std::uint64_t>() > INT64_MAX;
  if (too_large || value_->get<std::int64_t>() < min || value_->get<std::int64_t>() > max) {
    fail("expected " + range + ", found " + value_->dump());
  }
  return value_->get<std::int64_t>();
}

void JsonNode::expect_object() const {
  if (!value_->is_object()) fail(std::string("expected an object, found ") + value_->type_name());
}

void JsonNode::expect_keys(std::initializer_list<std::string_view> known) const {
  expect_object();
  for (const auto& [key, unused] : value_->items()) {
    bool found = false;
    for (const std::string_view name : known) found = found || name == key;
    if (found) continue;
    throw Error(ErrorCode::bad_input,
                "at " + child_pointer(pointer_, key) + ": unknown key \"" + key +
                    "\": a tokenizer feature that Quench does not know and will not ignore");
  }
}

bool JsonNode::bool_or(const char* key, bool fallback) const {
  return !has(key) || get(key).is_null() ? fallback : get(key).as_bool();
}

std::string JsonNode::string_or(const char* key, const std::string& fallback) const {
  return !has(key) || get(key).is_null() ? fallback : get(key).as_string();
}

}  // namespace quench::worker
