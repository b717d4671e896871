// Questions of a StackExchange dump (Posts.xml of archive.org/details/stackexchange, packed with gzip or
// not): those about Python or Java, in English, with a score of at least so many. Expat reads the file in
// pieces as hostile XML: no document type, hence no entities of its own; no element that a dump does not
// have; rows of at most 4 MiB. One thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "worker/calibration/document.h"
#include "worker/calibration/text_reader.h"

namespace quench::worker {

// One post, whatever file it comes from.
struct Question {
  std::int64_t score = 0;
  std::vector<std::string> tags;
  std::string title;
  std::string body;  // HTML
  std::string origin;
  std::string licence;
};
// Hands `question` to `sink` as a document, or counts why not. It was counted as read before.
void take_question(Question question, std::int64_t score_min, Tally& tally, const DocumentSink& sink);
// "<python><list>" or "|python|list|".
std::vector<std::string> tags_of(std::string_view text);
// python, python-3.x, java, java-8, …: not javascript.
bool is_about_python_or_java(const std::vector<std::string>& tags);

// `origin` stands before "#" and the post's number. Throws Error(bad_input) naming file and line.
void read_stack_exchange(TextReader& reader, const std::string& origin, std::int64_t score_min, Tally& tally,
                         const DocumentSink& sink);

}  // namespace quench::worker
