// Where Oniguruma's Ruby syntax, for which tokenizer files are written, and PCRE2 give one spelling two
// meanings. \s is rewritten; patterns that use another such spelling are refused: ids that are silently
// different would be worse than none.
#pragma once

#include <string>

namespace quench::worker {

// The pattern as PCRE2 has to read it. Throws Error(bad_input) naming the construct and its byte offset.
std::string to_pcre2_dialect(const std::string& pattern);

// Whether it uses a Unicode category (\p, \P, \d, \D), which depends on the version of Unicode.
bool uses_categories(const std::string& pattern);

}  // namespace quench::worker
