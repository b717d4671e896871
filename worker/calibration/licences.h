// Which licence a text is under, as an SPDX identifier. A guess from the words that licences are known by,
// kept as the origin of a document and never a judgement. Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>

namespace quench::worker {

// Whether a file of this name holds a repository's licence: LICENSE, LICENCE.txt, COPYING, …
bool is_licence_file(std::string_view name);
// The licence whose text this is; empty when none is recognised.
std::string licence_of_text(std::string_view text);
// What an SPDX-License-Identifier in the first lines of a source file says; empty when there is none.
std::string licence_of_source(std::string_view text);

}  // namespace quench::worker
