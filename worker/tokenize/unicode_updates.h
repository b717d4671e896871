// Debian 12's PCRE2 knows Unicode 14; the tokenizers library's Oniguruma knows Unicode 16. To \p{L}
// and its like a newer letter is then no letter. Patterns with such escapes are matched on a copy of
// the text in which newer characters are replaced by older ones of the same category and size.
#pragma once

#include <string>
#include <string_view>

namespace quench::worker {

// A text of the same length whose character boundaries are the same and whose categories PCRE2 knows;
// empty when `text` (well-formed UTF-8) may be used as it is.
std::string with_stand_ins(std::string_view text);

}  // namespace quench::worker
