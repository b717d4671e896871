#include "worker/evaluate/problem_forms.h"

#include "schemas/error.h"
#include "worker/evaluate/json_lines.h"

namespace quench::worker {
namespace {

using Json = nlohmann::ordered_json;

// Python's identifiers may be more than ASCII; a problem's entry point never is.
bool is_identifier(std::string_view name) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  for (char c : name) {
    const bool letter =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    if (!letter) return false;
  }
  return true;
}

// EvalPlus publishes its problems twice; the other form has inputs whose expected results somebody must first
// compute, and (HumanEval+) a `test` of HumanEval's few cases that would pass for the whole.
void refuse_inputs_without_results(const Json& object) {
  if (object.contains("plus_input") && object.contains("base_input")) {
    throw Error(ErrorCode::bad_input,
                "\"plus_input\" has inputs without their results; expected EvalPlus's OriginFmt file, whose "
                "\"test\" has both");
  }
}

const std::string& one_of(const Json& object, const char* field, const char* other) {
  return required_string(object, object.contains(field) || !object.contains(other) ? field : other);
}

std::string optional_string(const Json& object, const char* field) {
  return object.contains(field) ? required_string(object, field) : std::string();
}

// A list of strings; some copies of these files hold such a list as JSON text inside a string.
std::vector<std::string> string_list(const Json& object, const char* field) {
  const auto wrong = [&](const std::string& found) {
    return Error(ErrorCode::bad_input,
                 std::string("the field \"") + field + "\" " + found + "; expected a list of strings");
  };
  const Json& given = object.at(field);
  Json list = given;
  if (given.is_string()) {
    list = Json::parse(given.get_ref<const std::string&>(), nullptr, false);
    if (list.is_discarded()) throw wrong("is a string that is not JSON");
  }
  if (!list.is_array()) throw wrong(std::string("is a ") + list.type_name());
  std::vector<std::string> strings;
  for (const Json& item : list) {
    if (!item.is_string()) throw wrong(std::string("has a ") + item.type_name());
    strings.push_back(item.get<std::string>());
  }
  return strings;
}

void append_line(std::string& text, std::string_view line) {
  if (line.empty()) return;
  text += line;
  text += '\n';
}

Problem parse_human_eval(const Json& object) {
  Problem problem;
  problem.task_id = required_string(object, "task_id");
  refuse_inputs_without_results(object);
  problem.prompt = required_string(object, "prompt");
  problem.entry_point = required_string(object, "entry_point");
  problem.canonical_solution = required_string(object, "canonical_solution");
  problem.test = required_string(object, "test");
  return problem;
}

// `text` in the full set is `prompt` in the sanitized one. The set-up makes objects of the answer's classes, so it
// comes after the answer, with the imports and the assertions.
Problem parse_mbpp(const Json& object, ProblemFileForm form) {
  Problem problem;
  const auto id = object.find("task_id");
  problem.task_id =
      id != object.end() && id->is_number_integer() ? id->dump() : required_string(object, "task_id");
  refuse_inputs_without_results(object);
  problem.prompt = one_of(object, "prompt", "text");
  problem.prompt_form = PromptForm::words;
  problem.canonical_solution = one_of(object, "code", "canonical_solution");
  problem.entry_point = optional_string(object, "entry_point");
  problem.test_form = TestForm::script;
  if (!object.contains("test_list")) required_string(object, "test_list");
  problem.assertions = string_list(object, "test_list");
  if (object.contains("test_imports"))
    for (const std::string& line : string_list(object, "test_imports")) append_line(problem.test, line);
  append_line(problem.test, optional_string(object, "test_setup_code"));
  if (form == ProblemFileForm::mbpp_plus) {
    problem.test += required_string(object, "test");
    problem.evalplus_prompt = optional_string(object, "evalplus_prompt");
  } else {
    if (problem.assertions.empty())
      throw Error(ErrorCode::bad_input, "the field \"test_list\" is empty; expected assertions");
    for (const std::string& line : problem.assertions) append_line(problem.test, line);
  }
  return problem;
}

Problem parse_multipl_e(const Json& object, Language language) {
  Problem problem;
  problem.task_id = one_of(object, "name", "task_id");
  if (object.contains("language")) {
    const std::string& said = required_string(object, "language");
    const std::string_view expected = language == Language::java ? "java" : "py";
    if (said != expected && said != to_string(language)) {
      throw Error(ErrorCode::bad_input, "the problem's \"language\" is \"" + said + "\"; expected \"" +
                                            std::string(expected) + "\" (--language chooses)");
    }
  }
  problem.prompt = required_string(object, "prompt");
  problem.entry_point = optional_string(object, "entry_point");
  problem.test = one_of(object, "tests", "test");
  problem.test_form = language == Language::java ? TestForm::java_class : TestForm::script;
  if (object.contains("stop_tokens")) problem.stop_strings = string_list(object, "stop_tokens");
  return problem;
}

}  // namespace

Problem parse_problem(Benchmark benchmark, Language language, const Json& object) {
  const ProblemFileForm form = problem_file_form(benchmark);
  Problem problem = form == ProblemFileForm::human_eval  ? parse_human_eval(object)
                    : form == ProblemFileForm::multipl_e ? parse_multipl_e(object, language)
                                                         : parse_mbpp(object, form);
  if (problem.task_id.empty()) {
    throw Error(ErrorCode::bad_input, "task_id is empty; expected a name such as HumanEval/0");
  }
  problem.task_id = one_task_id(benchmark, problem.task_id);
  if (problem.test_form == TestForm::check_function ? !is_identifier(problem.entry_point)
                                                    : !problem.entry_point.empty() &&
                                                          !is_identifier(problem.entry_point)) {
    throw Error(ErrorCode::bad_input,
                "entry_point \"" + problem.entry_point + "\" is not the name of a function");
  }
  for (const std::string* text :
       {&problem.task_id, &problem.prompt, &problem.canonical_solution, &problem.test}) {
    if (text->find('\0') != std::string::npos) {
      throw Error(ErrorCode::bad_input, "a field holds a NUL character; source text cannot");
    }
  }
  return problem;
}

}  // namespace quench::worker
