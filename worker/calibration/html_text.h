// The text of a post's HTML body: blocks on lines of their own, code as it stands, entities resolved. Reads
// hostile text in one pass; any thread.
#pragma once

#include <string>
#include <string_view>

namespace quench::worker {

struct HtmlText {
  std::string text;   // all of it
  std::string prose;  // without code
};
HtmlText text_of_html(std::string_view html);

}  // namespace quench::worker
