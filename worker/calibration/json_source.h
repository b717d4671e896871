// Documents in JSON lines, as corpora are published: The Stack (content, lang, max_stars_repo_name, …),
// RedPajama and C4 (text, meta, url), and posts with title, body, tags and score. Reads hostile text; one
// thread at a time.
#pragma once

#include <cstdint>
#include <string>

#include "worker/calibration/document.h"
#include "worker/calibration/text_reader.h"

namespace quench::worker {

// `origin` stands before ":" and the line's number. Code is what names Python or Java as its language, or a
// path that ends so; what names another language is counted as of another kind, the rest is prose. Throws
// Error(bad_input) naming file and line for one that is not a JSON object with a text.
void read_json_documents(TextReader& reader, const std::string& origin, std::int64_t score_min, Tally& tally,
                         const DocumentSink& sink);

}  // namespace quench::worker
