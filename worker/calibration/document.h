// What calibration sets are made of, and why a document is left out of one. Plain data.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/artifact.h"

namespace quench::worker {

enum class DocumentForm { prose, python, java, question };
inline constexpr std::size_t kDocumentForms = 4;
// "prose documents", "Python files", …
std::string_view plural_of(DocumentForm form);

struct Document {
  DocumentForm form = DocumentForm::prose;
  std::string text;                 // well-formed UTF-8
  std::string origin;               // "corpus/package/module.py", "data.jsonl:17", "Posts.xml#4711"
  std::string repository;           // of code; empty: not known
  std::string licence = "unknown";  // an SPDX identifier where one was recognised, else what the source says
};

// In the order in which a set tells them.
enum class Reason {
  other_kind,
  unread_kind,
  binary,
  not_utf8,
  too_large,
  empty,
  unwanted,
  long_lines,
  few_letters,
  generated,
  low_score,
  off_topic,
  not_english,
  benchmark,
  same_repository,
  beyond_memory,
  near_duplicate,
  untokenizable,
  too_short,
};
inline constexpr std::size_t kReasons = 19;
std::string_view to_string(Reason reason);

// Counts what was read and what of it was left out.
class Tally {
 public:
  void read() { ++read_; }
  void leave_out(Reason reason, std::uint64_t documents = 1) {
    counts_[static_cast<std::size_t>(reason)] += documents;
  }
  std::uint64_t documents_read() const { return read_; }
  std::uint64_t count(Reason reason) const { return counts_[static_cast<std::size_t>(reason)]; }
  // Reasons that left something out, in their order.
  std::vector<LeftOut> left_out() const;
  // "3 binary, 12 shorter than a sequence"; "nothing was left out" when so.
  std::string to_string() const;

 private:
  std::uint64_t read_ = 0;
  std::array<std::uint64_t, kReasons> counts_{};
};

using DocumentSink = std::function<void(Document)>;

}  // namespace quench::worker
