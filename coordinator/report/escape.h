// Text from outside (names, task ids, the completions of models, what programs print) made safe for the
// language it is written into. Every function first makes the text UTF-8: bytes that are none become U+FFFD.
#pragma once

#include <string>
#include <string_view>

namespace quench::coordinator {

// Valid UTF-8 without control characters other than tab and line feed; each other one becomes U+FFFD.
std::string readable_text(std::string_view text);

std::string html_text(std::string_view text);      // & < > " ' as entities; fit for attributes, too
std::string markdown_text(std::string_view text);  // one line; markup characters behind backslashes
std::string latex_text(std::string_view text);     // one line; special characters as commands
std::string terminal_text(std::string_view text);  // one line
// RFC 4180. A spreadsheet takes a cell that begins with = + - or @ for a formula, so text that does so is
// written behind an apostrophe; numbers are not written with this function.
std::string csv_text(std::string_view text);

// How many columns of a terminal it takes, each character counted as one.
std::size_t text_width(std::string_view text);

}  // namespace quench::coordinator
