#include "worker/evaluate/java_outline.h"

#include <tree_sitter/api.h>

#include <memory>

#include "schemas/error.h"

extern "C" const TSLanguage* tree_sitter_java();

namespace quench::worker {
namespace {

struct Deleter {
  void operator()(TSParser* parser) const { ts_parser_delete(parser); }
  void operator()(TSTree* tree) const { ts_tree_delete(tree); }
};

JavaKind kind_of(std::string_view type) {
  if (type == "import_declaration") return JavaKind::import;
  if (type == "package_declaration") return JavaKind::package;
  if (type == "method_declaration") return JavaKind::method;
  if (type == "constructor_declaration") return JavaKind::constructor;
  for (const char* declared : {"class_declaration", "interface_declaration", "enum_declaration", "record_declaration"})
    if (type == declared) return JavaKind::type;
  return JavaKind::other;
}

// Two levels and no deeper, so no text makes it recurse.
std::vector<JavaPart> parts_of(TSNode parent, std::string_view source, bool with_members) {
  std::vector<JavaPart> parts;
  TSTreeCursor cursor = ts_tree_cursor_new(parent);
  for (bool more = ts_tree_cursor_goto_first_child(&cursor); more; more = ts_tree_cursor_goto_next_sibling(&cursor)) {
    const TSNode node = ts_tree_cursor_current_node(&cursor);
    if (!ts_node_is_named(node)) continue;
    const auto text = [&](TSNode of) {
      return source.substr(ts_node_start_byte(of), ts_node_end_byte(of) - ts_node_start_byte(of));
    };
    JavaPart part{kind_of(ts_node_type(node)), text(node), {}, {}};
    const TSNode name = ts_node_child_by_field_name(node, "name", 4);
    if (!ts_node_is_null(name)) part.name = text(name);
    const TSNode body = ts_node_child_by_field_name(node, "body", 4);
    if (with_members && part.kind == JavaKind::type && !ts_node_is_null(body)) part.members = parts_of(body, source, false);
    parts.push_back(std::move(part));
  }
  ts_tree_cursor_delete(&cursor);
  return parts;
}

}  // namespace

std::vector<JavaPart> java_outline(std::string_view source) {
  const std::unique_ptr<TSParser, Deleter> parser(ts_parser_new());
  QUENCH_CHECK(ts_parser_set_language(parser.get(), tree_sitter_java()), ts_language_version(tree_sitter_java()));
  const std::unique_ptr<TSTree, Deleter> tree(
      ts_parser_parse_string(parser.get(), nullptr, source.data(), static_cast<std::uint32_t>(source.size())));
  return parts_of(ts_tree_root_node(tree.get()), source, true);
}

}  // namespace quench::worker
