#include "worker/calibration/json_source.h"

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <optional>
#include <utility>

#include "schemas/error.h"
#include "worker/calibration/filters.h"
#include "worker/calibration/stack_exchange.h"
#include "worker/evaluate/json_lines.h"

namespace quench::worker {
namespace {

using Json = nlohmann::ordered_json;
using Names = std::initializer_list<const char*>;

constexpr std::size_t kUrlBytesMax = 300;

// The first of these fields that is a text; also inside "meta", where RedPajama has its url.
const std::string* text_field(const Json& object, Names names) {
  for (const char* name : names)
    if (const auto found = object.find(name); found != object.end() && found->is_string())
      return &found->get_ref<const std::string&>();
  if (const auto meta = object.find("meta"); meta != object.end() && meta->is_object())
    return text_field(*meta, names);
  return nullptr;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// The licence as a text, or a list of them.
std::string licence_in(const Json& object) {
  if (const std::string* text = text_field(object, {"license", "licence"})) return *text;
  for (const char* name : {"licenses", "max_stars_repo_licenses", "detected_licenses"}) {
    const auto found = object.find(name);
    if (found == object.end() || !found->is_array()) continue;
    std::string all;
    for (const Json& one : *found)
      if (one.is_string()) all += (all.empty() ? "" : " OR ") + one.get<std::string>();
    if (!all.empty()) return all;
  }
  return "unknown";
}

// Nothing when it is code in another language.
std::optional<DocumentForm> form_in(const Json& object) {
  const std::string* path = text_field(object, {"path", "max_stars_repo_path", "file_path", "filename"});
  if (const std::string* language = text_field(object, {"lang", "language", "programming_language"})) {
    const std::string name = lower(*language);
    if (name == "python" || name == "py") return DocumentForm::python;
    if (name == "java") return DocumentForm::java;
    // A natural language ("en", "English") is no reason to leave prose out.
    if (path != nullptr || object.contains("content") || object.contains("code")) return std::nullopt;
    return DocumentForm::prose;
  }
  if (path != nullptr && path->ends_with(".py")) return DocumentForm::python;
  if (path != nullptr && path->ends_with(".java")) return DocumentForm::java;
  if (path != nullptr && path->find('.') != std::string::npos && !path->ends_with(".txt") &&
      !path->ends_with(".md"))
    return std::nullopt;
  return DocumentForm::prose;
}

bool is_question(const Json& object) {
  return object.contains("tags") && object.contains("score") && object.contains("body");
}

Question question_in(const Json& object) {
  Question question;
  const auto score = object.find("score");
  if (!score->is_number_integer())
    throw Error(ErrorCode::bad_input, "the field \"score\" is not a whole number");
  question.score = score->get<std::int64_t>();
  const auto tags = object.find("tags");
  if (tags->is_string()) question.tags = tags_of(tags->get_ref<const std::string&>());
  if (tags->is_array())
    for (const Json& tag : *tags)
      if (tag.is_string()) question.tags.push_back(tag.get<std::string>());
  if (const std::string* title = text_field(object, {"title"})) question.title = *title;
  question.body = required_string(object, "body");
  question.licence = text_field(object, {"content_license"}) != nullptr
                         ? *text_field(object, {"content_license"})
                         : licence_in(object);
  return question;
}

void take(const Json& object, std::string origin, std::int64_t score_min, Tally& tally,
          const DocumentSink& sink) {
  tally.read();
  if (is_question(object)) {
    Question question = question_in(object);
    question.origin = std::move(origin);
    return take_question(std::move(question), score_min, tally, sink);
  }
  const std::string* text = text_field(object, {"text", "content", "code", "body"});
  if (text == nullptr)
    throw Error(ErrorCode::bad_input,
                "no text: expected a string in one of the fields \"text\", \"content\", \"code\", \"body\"");
  const std::optional<DocumentForm> form = form_in(object);
  if (!form) return tally.leave_out(Reason::other_kind);
  Document document;
  document.form = *form;
  document.text = *text;
  document.licence = licence_in(object);
  document.origin = std::move(origin);
  if (const std::string* url = text_field(object, {"url", "path", "max_stars_repo_path"}))
    document.origin.append(" ").append(*url, 0, kUrlBytesMax);
  if (const std::string* name =
          text_field(object, {"repo_name", "max_stars_repo_name", "repository_name", "repository", "repo"}))
    document.repository = *name;
  if (const auto fault = fault_of(document)) return tally.leave_out(*fault);
  sink(std::move(document));
}

}  // namespace

void read_json_documents(TextReader& reader, const std::string& origin, std::int64_t score_min, Tally& tally,
                         const DocumentSink& sink) {
  std::string line;
  while (reader.next_line(line)) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string number = std::to_string(reader.line_number());
    in_context(reader.path().string() + ": line " + number, [&] {
      // The checks of the product's other JSON lines: UTF-8, no key twice, no deep nesting.
      take(parse_json_object(line), origin + ":" + number, score_min, tally, sink);
    });
  }
}

}  // namespace quench::worker
