#include "worker/evaluate/function_cut.h"

#include <tree_sitter/api.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "schemas/error.h"

extern "C" const TSLanguage* tree_sitter_python();
extern "C" const TSLanguage* tree_sitter_java();

namespace quench::worker {
namespace {

// The text is read again up to every line at the function's margin, until it is free of errors. In all this
// much is read: a dozen such lines of what a model writes in 1024 tokens. (Noise costs about 10 µs a byte.)
constexpr std::size_t kReadBytesMax = 2 * kFunctionCutBytesMax;

struct Deleter {
  void operator()(TSParser* parser) const { ts_parser_delete(parser); }
  void operator()(TSTree* tree) const { ts_tree_delete(tree); }
};
using Tree = std::unique_ptr<TSTree, Deleter>;

class Parser {
 public:
  explicit Parser(const TSLanguage* language) : parser_(ts_parser_new()) {
    QUENCH_CHECK(ts_parser_set_language(parser_.get(), language), ts_language_version(language));
  }
  Tree parse(std::string_view text) {
    ts_parser_reset(parser_.get());
    return Tree(
        ts_parser_parse_string(parser_.get(), nullptr, text.data(), static_cast<std::uint32_t>(text.size())));
  }

 private:
  std::unique_ptr<TSParser, Deleter> parser_;
};

// Walks a tree without a stack of its own: trees can be as deep as their text is long.
class Cursor {
 public:
  explicit Cursor(const Tree& tree) : cursor_(ts_tree_cursor_new(ts_tree_root_node(tree.get()))) {}
  ~Cursor() { ts_tree_cursor_delete(&cursor_); }
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;

  TSNode node() const { return ts_tree_cursor_current_node(&cursor_); }
  std::string_view type() const { return ts_node_type(node()); }
  bool enter() { return ts_tree_cursor_goto_first_child(&cursor_); }
  // The next node that does not lie in this one; false at the end of the tree.
  bool pass() {
    while (!ts_tree_cursor_goto_next_sibling(&cursor_))
      if (!ts_tree_cursor_goto_parent(&cursor_)) return false;
    return true;
  }

 private:
  TSTreeCursor cursor_;
};

std::string_view text_of(std::string_view source, TSNode node) {
  const std::size_t start = ts_node_start_byte(node);
  return source.substr(start, ts_node_end_byte(node) - start);
}

struct Function {
  std::size_t start = 0;  // with its decorators
  std::size_t end = 0;
  std::size_t margin = 0;  // bytes before `def` or its decorators on their line
  std::string name;
};

// The outermost functions, methods of classes among them, in the order of the text.
std::vector<Function> python_functions(const Tree& tree, std::string_view source) {
  std::vector<Function> functions;
  Cursor cursor(tree);
  bool more = true;
  while (more) {
    const TSNode outer = cursor.node();
    const std::string_view type = cursor.type();
    TSNode definition = outer;
    if (type == "decorated_definition") definition = ts_node_child_by_field_name(outer, "definition", 10);
    if (!ts_node_is_null(definition) && std::string_view(ts_node_type(definition)) == "function_definition") {
      const TSNode name = ts_node_child_by_field_name(definition, "name", 4);
      functions.push_back({ts_node_start_byte(outer), ts_node_end_byte(outer),
                           ts_node_start_point(outer).column,
                           ts_node_is_null(name) ? std::string() : std::string(text_of(source, name))});
      more = cursor.pass();
    } else {
      // Statements hold functions too, expressions do not: lambdas are none.
      const bool may_hold = type == "module" || type == "block" || type == "class_definition" ||
                            type == "decorated_definition" || type == "ERROR" || type == "if_statement" ||
                            type == "else_clause" || type == "try_statement";
      more = (may_hold && cursor.enter()) || cursor.pass();
    }
  }
  return functions;
}

bool calls(std::string_view tests, const std::string& name) {
  const auto is_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  for (std::size_t at = tests.find(name); at != std::string_view::npos; at = tests.find(name, at + 1)) {
    const std::size_t end = at + name.size();
    const bool begins = at == 0 || !is_word(tests[at - 1]);
    if (begins && end < tests.size() && tests[end] == '(') return true;
  }
  return false;
}

// The function that the prompt opens, or else the first that the tests call.
const Function* meant(const std::vector<Function>& functions, std::size_t begin, std::string_view tests) {
  const Function* opened = nullptr;
  for (const Function& function : functions)
    if (function.start < begin) opened = &function;
  if (opened != nullptr) return opened;
  for (const Function& function : functions)
    if (!function.name.empty() && calls(tests, function.name)) return &function;
  return nullptr;
}

// The offset of the next line after `from` that holds something, no comment, at most `margin` bytes from its
// beginning; the text's end when there is none.
std::size_t next_margin_line(std::string_view source, std::size_t from, std::size_t margin) {
  for (std::size_t line = source.find('\n', from); line != std::string_view::npos;
       line = source.find('\n', line)) {
    ++line;
    const std::size_t first = source.find_first_not_of(" \t\f", line);
    if (first == std::string_view::npos) break;
    const char c = source[first];
    if (first - line <= margin && c != '\n' && c != '\r' && c != '#') return line;
  }
  return source.size();
}

// Looks for the shortest part of a text that ends before a line at the function's margin, holds the function
// and has no error. A line inside a string or brackets ends no such part. The text may grow from call to
// call.
class PythonSearch {
 public:
  PythonSearch(std::size_t begin, std::string tests) : begin_(begin), end_(begin), tests_(std::move(tests)) {}

  // What no later text changes.
  std::optional<FunctionEnd> settled(std::string_view source) {
    while (read_ < kReadBytesMax) {
      const std::size_t next = next_margin_line(source, end_, margin_);
      if (next == source.size()) return std::nullopt;
      end_ = next;
      if (const auto end = end_in(source.substr(0, end_)); end) return *end;
    }
    return std::nullopt;
  }

  // When `source` is the whole text, in which nothing was settled.
  std::optional<FunctionEnd> at_the_end(std::string_view source) {
    if (read_ < kReadBytesMax && end_ < source.size())
      if (const auto end = end_in(source); end && end->after > begin_) return *end;
    return first_;
  }

 private:
  FunctionEnd at(std::size_t end) const { return {std::max(end, begin_), std::max(end, begin_)}; }

  std::optional<FunctionEnd> end_in(std::string_view part) {
    read_ += part.size();
    const Tree tree = parser_.parse(part);
    const std::vector<Function> functions = python_functions(tree, part);
    const Function* function = meant(functions, begin_, tests_);
    if (function != nullptr) margin_ = function->margin;
    if (ts_node_has_error(ts_tree_root_node(tree.get()))) return std::nullopt;
    if (function != nullptr) return at(function->end);
    if (!first_ && !functions.empty()) first_ = at(functions.front().end);
    return std::nullopt;
  }

  std::size_t begin_;
  std::size_t end_;  // where the last part ended
  std::string tests_;
  Parser parser_{tree_sitter_python()};
  std::optional<FunctionEnd> first_;  // of a function that nobody asked for
  std::size_t margin_ = 0;            // until the function is seen
  std::size_t read_ = 0;
};

bool is_correct_java(std::string_view source) {
  const Tree tree = Parser(tree_sitter_java()).parse(source);
  return !ts_node_has_error(ts_tree_root_node(tree.get()));
}

// Braces as the language counts them, outside of strings and comments. Up to the end of the method nothing of
// what follows it has been read.
std::optional<FunctionEnd> end_in_java(std::string_view source, std::size_t begin) {
  const Tree tree = Parser(tree_sitter_java()).parse(source);
  const std::size_t last = source.substr(0, begin).find_last_not_of(" \t\r\n");
  // What the prompt has opened of the method itself: its block, or its head only.
  std::ptrdiff_t depth = last != std::string_view::npos && source[last] == '{' ? 1 : 0;
  Cursor cursor(tree);
  do {
    while (cursor.enter()) {
    }
    const TSNode leaf = cursor.node();
    const std::size_t start = ts_node_start_byte(leaf);
    if (start < begin || ts_node_is_missing(leaf)) continue;
    if (cursor.type() == "{") ++depth;
    if (cursor.type() == "}" && --depth <= 0) {
      if (depth < 0) return std::nullopt;  // closes the class instead
      return FunctionEnd{start, ts_node_end_byte(leaf)};
    }
    if (cursor.type() == ";" && depth == 0) return std::nullopt;  // a method without a body
  } while (cursor.pass());
  return std::nullopt;
}

}  // namespace

std::optional<FunctionEnd> end_of_function(Language language, std::string_view source, std::size_t begin,
                                           std::string_view tests) {
  QUENCH_CHECK(begin <= source.size(), begin, source.size());
  const bool goes_on = source.size() > kFunctionCutBytesMax;
  if (goes_on) source = source.substr(0, std::max(begin, kFunctionCutBytesMax));
  switch (language) {
    case Language::python: {
      PythonSearch search(begin, std::string(tests));
      if (const auto end = search.settled(source); end) return end;
      // Past what is read the function may go on.
      return goes_on ? std::nullopt : search.at_the_end(source);
    }
    case Language::java:
      return end_in_java(source, begin);
  }
  throw Error(ErrorCode::internal, "a language without a grammar");
}

struct FunctionWatch::State {
  Language language;
  std::string source;
  std::size_t begin;
  PythonSearch python;
  std::size_t read = 0;  // Java
};

FunctionWatch::FunctionWatch(Language language, std::string prompt, std::string tests) {
  const std::size_t begin = prompt.size();
  state_ = std::make_unique<State>(language, std::move(prompt), begin, PythonSearch(begin, std::move(tests)));
}
FunctionWatch::~FunctionWatch() = default;
FunctionWatch::FunctionWatch(FunctionWatch&&) noexcept = default;

bool FunctionWatch::is_complete(std::string_view completion) {
  State& state = *state_;
  const std::size_t known = state.source.size() - state.begin;
  QUENCH_CHECK(completion.size() >= known, completion.size(), known);
  const std::string_view fresh = completion.substr(known);
  state.source += fresh;
  if (state.source.size() > kFunctionCutBytesMax) return false;
  if (state.language == Language::python) return state.python.settled(state.source).has_value();
  // With the brace that closes the class a finished method is correct Java. One with an error in it is cut
  // when all of it is there.
  if (fresh.find('}') == std::string_view::npos || state.read > kReadBytesMax) return false;
  state.read += state.source.size();
  const auto end = end_in_java(state.source, state.begin);
  return end && is_correct_java(state.source.substr(0, end->after) + "\n}\n");
}

}  // namespace quench::worker
