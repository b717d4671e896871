#include "worker/evaluate/json_lines.h"

#include <cerrno>
#include <cstdint>
#include <fstream>
#include <set>
#include <vector>

#include "schemas/error.h"

namespace quench::worker {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kLineBytesMax = 64ull << 20;
constexpr std::uintmax_t kFileBytesMax = 4ull << 30;
constexpr int kNestingMax = 64;

void require_object(const Json& value) {
  if (!value.is_object()) {
    throw Error(ErrorCode::bad_input,
                std::string("expected a JSON object, found a ") + value.type_name());
  }
}

Json parse_value(std::string_view line) {
  if (line.size() > kLineBytesMax) {
    throw Error(ErrorCode::bad_input,
                "the line has " + std::to_string(line.size()) + " bytes; at most 64 MiB are read");
  }
  if (const std::size_t nul = line.find('\0'); nul != std::string_view::npos) {
    throw Error(ErrorCode::bad_input, "byte " + std::to_string(nul + 1) + " is NUL; JSON text has none");
  }
  // nlohmann keeps the last of two equal keys and says nothing; which of them was meant is not ours to guess.
  std::vector<std::set<std::string>> keys;
  std::string duplicate;
  bool too_deep = false;
  const Json::parser_callback_t watch = [&](int depth, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second) {
      duplicate = value.get<std::string>();
    }
    if (depth > kNestingMax) too_deep = true;
    return true;
  };
  Json parsed;
  try {
    parsed = Json::parse(line, watch);
  } catch (const Json::exception& error) {
    std::string why = error.what();
    // "[json.exception.parse_error.101] parse error at line 1, column 7: …": the tag and its own line are
    // noise.
    if (const std::size_t tag = why.find("] "); tag != std::string::npos) why = why.substr(tag + 2);
    if (const std::size_t column = why.find("column "); column != std::string::npos) why = why.substr(column);
    throw Error(ErrorCode::bad_input, "not JSON: " + why);
  }
  if (!duplicate.empty()) throw Error(ErrorCode::bad_input, "the key \"" + duplicate + "\" stands twice");
  if (too_deep) throw Error(ErrorCode::bad_input, "nests deeper than " + std::to_string(kNestingMax));
  return parsed;
}

}  // namespace

Json parse_json_object(std::string_view line) {
  Json parsed = parse_value(line);
  require_object(parsed);
  return parsed;
}

void for_each_json_line(std::string_view text, const std::function<void(std::size_t, Json)>& on_line) {
  std::size_t number = 0;
  while (!text.empty()) {
    ++number;
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;
    in_context("line " + std::to_string(number), [&] { on_line(number, parse_json_object(line)); });
  }
}

void for_each_json_object(std::string_view text, const std::function<void(std::size_t, Json)>& on_object) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '[') return for_each_json_line(text, on_object);
  Json array = parse_value(text);
  std::size_t number = 0;
  for (Json& element : array) {
    ++number;
    in_context("element " + std::to_string(number), [&] {
      require_object(element);
      on_object(number, std::move(element));
    });
  }
}

const std::string& required_string(const Json& object, const char* field) {
  const auto found = object.find(field);
  if (found == object.end())
    throw Error(ErrorCode::bad_input, std::string("the field \"") + field + "\" is missing");
  if (!found->is_string()) {
    throw Error(ErrorCode::bad_input, std::string("the field \"") + field + "\" is a " + found->type_name() +
                                          "; expected a string");
  }
  return found->get_ref<const std::string&>();
}

std::string read_text_file(const std::filesystem::path& path) {
  std::error_code code;
  if (std::filesystem::is_directory(path, code)) {
    throw Error(ErrorCode::bad_input, path.string() + " is a directory; expected a file of JSON lines");
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) throw errno_error(ErrorCode::bad_input, "cannot open " + path.string(), errno);
  std::string text;
  std::vector<char> block(1 << 20);
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())) || in.gcount() > 0) {
    text.append(block.data(), static_cast<std::size_t>(in.gcount()));
    if (text.size() > kFileBytesMax)
      throw Error(ErrorCode::bad_input, path.string() + " is larger than 4 GiB; split it");
  }
  if (in.bad()) throw errno_error(ErrorCode::bad_input, "cannot read " + path.string(), errno);
  return text;
}

}  // namespace quench::worker
