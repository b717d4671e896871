#include "worker/evaluate/java_answer.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "worker/evaluate/function_cut.h"
#include "worker/evaluate/java_outline.h"
#include "worker/evaluate/prompts.h"

namespace quench::worker {
namespace {

struct JavaSource {
  std::vector<JavaPart> imports;
  std::vector<JavaPart> types;    // at the top, but for the class that holds the method
  std::vector<JavaPart> members;  // of that class, but for the method and for main
  std::optional<JavaPart> method;
};

// False when the class does not hold the method. Of several of that name the last is the one that the tests go on behind.
bool take_class(const JavaPart& type, std::string_view method, JavaSource& into) {
  const auto last = std::find_if(type.members.rbegin(), type.members.rend(),
                                 [&](const JavaPart& part) { return part.kind == JavaKind::method && part.name == method; });
  if (last == type.members.rend()) return false;
  into.method = *last;
  for (const JavaPart& member : type.members) {
    if (&member == &*last || (member.kind == JavaKind::method && member.name == "main")) continue;
    // A constructor has the name of its class, which may not be Problem.
    if (member.kind == JavaKind::constructor && member.name != "Problem") continue;
    into.members.push_back(member);
  }
  return true;
}

JavaSource read_java(std::string_view source, std::string_view method) {
  JavaSource found;
  for (const JavaPart& part : java_outline(source)) {
    if (part.kind == JavaKind::import) found.imports.push_back(part);
    if (part.kind == JavaKind::type && (found.method || !take_class(part, method, found))) found.types.push_back(part);
  }
  return found;
}

// The name before the last parenthesis that a prompt opens and closes: its head's parameters.
std::string_view asked_method(std::string_view prompt) {
  std::size_t at = prompt.rfind(')');
  for (std::size_t depth = 0; at != std::string_view::npos; at = at == 0 ? std::string_view::npos : at - 1) {
    if (prompt[at] == ')') ++depth;
    if (prompt[at] == '(' && --depth == 0) break;
  }
  if (at == std::string_view::npos) return {};
  const std::string_view head = stripped(prompt.substr(0, at));
  const std::size_t before = head.find_last_of(" \t\n>].");
  return before == std::string_view::npos ? head : head.substr(before + 1);
}

bool has_name(const std::vector<JavaPart>& parts, const JavaPart& like) {
  return std::any_of(parts.begin(), parts.end(),
                     [&](const JavaPart& part) { return part.kind == like.kind && part.name == like.name; });
}

// One type of a file may be public, and Problem is not alone in it.
std::string_view not_public(std::string_view type) {
  constexpr std::string_view word = "public ";
  return type.starts_with(word) ? type.substr(word.size()) : type;
}

// A text of methods as a class, behind the lines of it that import.
std::string as_class(std::string_view code) {
  std::string imports, rest;
  while (!code.empty()) {
    const std::size_t end = std::min(code.find('\n'), code.size() - 1) + 1;
    const std::string_view line = code.substr(0, end);
    const std::string_view words = stripped(line);
    (words.starts_with("import ") || words.starts_with("package ") ? imports : rest) += line;
    code.remove_prefix(end);
  }
  return imports + "\nclass Problem {\n" + rest + "\n}\n";
}

std::string as_body(std::string_view prompt, std::string_view code) {
  std::string program(prompt);
  if (!stripped(prompt).ends_with('{')) program += "{\n";
  return program.append(code).append("\n");
}

}  // namespace

bool defines_java(std::string_view code) {
  const std::vector<JavaPart> parts = java_outline(code.substr(0, kFunctionCutBytesMax));
  return std::any_of(parts.begin(), parts.end(), [](const JavaPart& part) {
    return part.kind == JavaKind::type || part.kind == JavaKind::method;
  });
}

std::string java_chat_program(std::string_view prompt, std::string_view tests, std::string_view code) {
  const std::string_view method = asked_method(prompt);
  if (method.empty() || code.size() > kFunctionCutBytesMax) return as_body(prompt, code);
  const std::string wrapped = as_class(code), asked = as_body(prompt, "}\n}");
  JavaSource answer = read_java(code, method);
  if (!answer.method) answer = read_java(wrapped, method);
  if (!answer.method) return as_body(prompt, code);
  const JavaSource given = read_java(asked, method);

  std::string program;
  const auto add = [&](std::string_view text) { program.append(text).append("\n"); };
  for (const JavaPart& line : given.imports) add(line.text);
  for (const JavaPart& line : answer.imports) add(line.text);
  for (const JavaPart& type : given.types)
    if (!has_name(answer.types, type)) add(type.text);
  for (const JavaPart& type : answer.types) add(not_public(type.text));
  add("class Problem {");
  for (const JavaPart& member : given.members)
    if (member.kind == JavaKind::method && !has_name(answer.members, member)) add(member.text);
  for (const JavaPart& member : answer.members) add(member.text);
  std::string_view last = answer.method->text;
  if (stripped(tests).starts_with('}') && last.ends_with('}')) last.remove_suffix(1);
  add(last);
  return program;
}

}  // namespace quench::worker
