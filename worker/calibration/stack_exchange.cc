#include "worker/calibration/stack_exchange.h"

#include <expat.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <exception>
#include <memory>
#include <utility>

#include "schemas/error.h"
#include "worker/calibration/filters.h"
#include "worker/calibration/html_text.h"

namespace quench::worker {
namespace {

constexpr std::size_t kPieceBytes = 64 << 10;
// A post's body has at most 30,000 characters on the site; written as entities a few times that.
constexpr std::uint64_t kRowBytesMax = 4 << 20;
// What dumps say; older ones say nothing.
constexpr const char* kLicence = "CC-BY-SA";

std::int64_t number_of(std::string_view text, const char* what) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    throw Error(ErrorCode::bad_input, std::string("the attribute ") + what + " is \"" +
                                          std::string(text.substr(0, 40)) + "\"; expected a number");
  return value;
}

class DumpParser {
 public:
  DumpParser(const std::string& origin, std::int64_t score_min, Tally& tally, const DocumentSink& sink)
      : origin_(origin),
        score_min_(score_min),
        tally_(tally),
        sink_(sink),
        parser_(XML_ParserCreate("UTF-8"), XML_ParserFree) {
    if (!parser_) throw Error(ErrorCode::failed, "expat does not start");
    XML_SetUserData(parser_.get(), this);
    XML_SetElementHandler(
        parser_.get(),
        [](void* self, const char* name, const char** attributes) {
          static_cast<DumpParser*>(self)->guarded([&](DumpParser& me) { me.begin(name, attributes); });
        },
        [](void* self, const char*) { --static_cast<DumpParser*>(self)->depth_; });
    XML_SetStartDoctypeDeclHandler(parser_.get(), [](void* self, const char*, const char*, const char*, int) {
      static_cast<DumpParser*>(self)->guarded([](DumpParser&) {
        throw Error(ErrorCode::bad_input, "it declares a document type, which no dump of StackExchange does");
      });
    });
  }

  void feed(std::span<const char> piece, bool is_last) {
    const XML_Status status =
        XML_Parse(parser_.get(), piece.data(), static_cast<int>(piece.size()), is_last ? 1 : 0);
    if (failure_) std::rethrow_exception(failure_);
    if (status != XML_STATUS_OK)
      throw Error(ErrorCode::bad_input,
                  std::string("not well-formed XML: ") + XML_ErrorString(XML_GetErrorCode(parser_.get())));
    fed_bytes_ += piece.size();
    // Expat keeps a tag until its end has come.
    const auto done =
        static_cast<std::uint64_t>(std::max<XML_Index>(XML_GetCurrentByteIndex(parser_.get()), 0));
    if (fed_bytes_ > done + kRowBytesMax) throw Error(ErrorCode::bad_input, "a row is longer than 4 MiB");
  }
  std::size_t line() const { return XML_GetCurrentLineNumber(parser_.get()); }

 private:
  // No exception may pass through expat, which is C.
  template <typename Body>
  void guarded(Body&& body) {
    if (failure_) return;
    try {
      body(*this);
    } catch (...) {
      failure_ = std::current_exception();
      XML_StopParser(parser_.get(), XML_FALSE);
    }
  }

  void begin(const char* name, const char** attributes) {
    ++depth_;
    if (depth_ == 1 && std::strcmp(name, "posts") == 0) return;
    if (depth_ != 2 || std::strcmp(name, "row") != 0)
      throw Error(ErrorCode::bad_input, "found the element <" + std::string(name).substr(0, 40) +
                                            ">; a dump's Posts.xml has <posts> with one <row> for each post");
    Question question;
    std::string_view id, type;
    question.licence = kLicence;
    for (; *attributes != nullptr; attributes += 2) {
      const std::string_view key = attributes[0], value = attributes[1];
      if (key == "Id") id = value;
      if (key == "PostTypeId") type = value;
      if (key == "Score") question.score = number_of(value, "Score");
      if (key == "Tags") question.tags = tags_of(value);
      if (key == "Title") question.title = value;
      if (key == "Body") question.body = value;
      if (key == "ContentLicense") question.licence = value;
    }
    if (type != "1") return;  // an answer, or a tag's wiki: not what is looked for, so not counted either
    tally_.read();
    question.origin = origin_ + "#" + std::to_string(number_of(id, "Id"));
    take_question(std::move(question), score_min_, tally_, sink_);
  }

  const std::string& origin_;
  std::int64_t score_min_;
  Tally& tally_;
  const DocumentSink& sink_;
  std::unique_ptr<XML_ParserStruct, decltype(&XML_ParserFree)> parser_;
  std::exception_ptr failure_;
  int depth_ = 0;
  std::uint64_t fed_bytes_ = 0;
};

}  // namespace

std::vector<std::string> tags_of(std::string_view text) {
  std::vector<std::string> tags;
  std::string tag;
  for (const char c : text) {
    if (c != '<' && c != '>' && c != '|') {
      tag += c;
    } else if (!tag.empty()) {
      tags.push_back(std::exchange(tag, {}));
    }
  }
  if (!tag.empty()) tags.push_back(tag);
  return tags;
}

bool is_about_python_or_java(const std::vector<std::string>& tags) {
  return std::any_of(tags.begin(), tags.end(), [](const std::string& tag) {
    return tag == "python" || tag == "java" || tag.starts_with("python-") || tag.starts_with("java-");
  });
}

void take_question(Question question, std::int64_t score_min, Tally& tally, const DocumentSink& sink) {
  if (question.score < score_min) return tally.leave_out(Reason::low_score);
  if (!is_about_python_or_java(question.tags)) return tally.leave_out(Reason::off_topic);
  HtmlText body = text_of_html(question.body);
  if (!looks_english(question.title + " " + body.prose)) return tally.leave_out(Reason::not_english);
  Document document;
  document.form = DocumentForm::question;
  document.text = question.title.empty() ? std::move(body.text) : question.title + "\n\n" + body.text;
  document.origin = std::move(question.origin);
  if (!question.licence.empty()) document.licence = std::move(question.licence);
  if (const auto fault = fault_of(document)) return tally.leave_out(*fault);
  sink(std::move(document));
}

void read_stack_exchange(TextReader& reader, const std::string& origin, std::int64_t score_min, Tally& tally,
                         const DocumentSink& sink) {
  DumpParser parser(origin, score_min, tally, sink);
  std::vector<char> piece(kPieceBytes);
  try {
    for (;;) {
      const std::size_t got = reader.read(piece);
      parser.feed(std::span(piece).first(got), got == 0);
      if (got == 0) return;
    }
  } catch (const Error& error) {
    throw Error(error).with_context(reader.path().string() + ": line " + std::to_string(parser.line()));
  }
}

}  // namespace quench::worker
