// JSON lines as people and other harnesses write them: one object per line, checked before anything
// is done with them. Reads hostile text; any thread.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace quench::worker {

// Calls `on_line(line_number, object)` for every line, numbers from 1. Empty lines are skipped, as is a
// carriage return at a line's end. An Error of the callback carries "line N". Throws Error(bad_input) for a
// line that is not one JSON object of valid UTF-8, is longer than 64 MiB, nests deeper than 64, holds a NUL
// byte or a key twice.
void for_each_json_line(std::string_view text,
                        const std::function<void(std::size_t, nlohmann::ordered_json)>& on_line);

// One such line. Throws Error(bad_input) as above, without the line's number.
nlohmann::ordered_json parse_json_object(std::string_view line);

// The same for text that may instead be one JSON array of objects, as some problem files are: then the numbers
// count its elements and an error carries "element N".
void for_each_json_object(std::string_view text,
                          const std::function<void(std::size_t, nlohmann::ordered_json)>& on_object);

// The field's text. Throws Error(bad_input) when it is missing or not a string.
const std::string& required_string(const nlohmann::ordered_json& object, const char* field);

// The file's bytes. Throws Error(bad_input) when it is missing, a directory, unreadable, or above 4 GiB.
std::string read_text_file(const std::filesystem::path& path);

}  // namespace quench::worker
