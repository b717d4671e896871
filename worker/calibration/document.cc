#include "worker/calibration/document.h"

namespace quench::worker {

std::string_view plural_of(DocumentForm form) {
  switch (form) {
    case DocumentForm::prose:
      return "prose documents";
    case DocumentForm::python:
      return "Python files";
    case DocumentForm::java:
      return "Java files";
    case DocumentForm::question:
      return "questions";
  }
  return "documents";
}

std::string_view to_string(Reason reason) {
  switch (reason) {
    case Reason::other_kind:
      return "files of other kinds";
    case Reason::unread_kind:
      return "Parquet and 7z files, which are not read";
    case Reason::binary:
      return "binary";
    case Reason::not_utf8:
      return "not UTF-8";
    case Reason::too_large:
      return "too large";
    case Reason::empty:
      return "empty";
    case Reason::unwanted:
      return "not what this kind of set takes";
    case Reason::long_lines:
      return "lines too long to be written by hand";
    case Reason::few_letters:
      return "too few letters";
    case Reason::generated:
      return "generated code";
    case Reason::low_score:
      return "score too low";
    case Reason::off_topic:
      return "not about Python or Java";
    case Reason::not_english:
      return "not in English";
    case Reason::benchmark:
      return "holds a benchmark's text";
    case Reason::same_repository:
      return "of a repository that has others";
    case Reason::beyond_memory:
      return "more than are kept to choose from";
    case Reason::near_duplicate:
      return "near duplicate";
    case Reason::untokenizable:
      return "too hard for the tokenizer's pattern";
    case Reason::too_short:
      return "shorter than a sequence";
  }
  return "unknown";
}

std::vector<LeftOut> Tally::left_out() const {
  std::vector<LeftOut> all;
  for (std::size_t i = 0; i < kReasons; ++i)
    if (counts_[i] > 0) all.push_back({std::string(worker::to_string(static_cast<Reason>(i))), counts_[i]});
  return all;
}

std::string Tally::to_string() const {
  std::string text;
  for (const LeftOut& one : left_out())
    text += (text.empty() ? "" : ", ") + std::to_string(one.documents) + " " + one.reason;
  return text.empty() ? "nothing was left out" : text;
}

}  // namespace quench::worker
