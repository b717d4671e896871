// What a Java text declares, found with tree-sitter: its imports, its types and their members. Any thread; texts are hostile, and
// at most kFunctionCutBytesMax and a little long (function_cut.h says why).
#pragma once

#include <string_view>
#include <vector>

namespace quench::worker {

enum class JavaKind { import, package, type, method, constructor, other };

struct JavaPart {
  JavaKind kind = JavaKind::other;
  std::string_view text;  // of the source
  std::string_view name;  // of a type, method or constructor
  std::vector<JavaPart> members;  // of a class
};

// The parts at the top of a text and the members of its classes, in order; what is no Java is `other` or left out.
std::vector<JavaPart> java_outline(std::string_view source);

}  // namespace quench::worker
