#define PCRE2_CODE_UNIT_WIDTH 8
#include "worker/tokenize/regex.h"

#include <pcre2.h>

#include <array>

#include "schemas/error.h"
#include "worker/tokenize/regex_dialect.h"
#include "worker/tokenize/utf8.h"

namespace quench::worker {
namespace {

constexpr std::uint32_t kParenthesesMax = 50;
constexpr auto kBaseTime = std::chrono::seconds(20);
constexpr auto kTimePerMegabyte = std::chrono::seconds(20);

std::string pcre2_message(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  if (pcre2_get_error_message(code, buffer.data(), buffer.size()) < 0) return "unknown PCRE2 error";
  return reinterpret_cast<const char*>(buffer.data());
}

}  // namespace

MatchBudget::MatchBudget(std::size_t text_bytes) : MatchBudget(text_bytes, kBaseTime) {}

MatchBudget::MatchBudget(std::size_t text_bytes, std::chrono::steady_clock::duration base)
    : deadline_(std::chrono::steady_clock::now() + base + kTimePerMegabyte * (text_bytes >> 20)) {}

void MatchBudget::spend(const std::string& pattern) {
  // One match is bounded by itself, so eight of them overshoot by seconds at most.
  if ((++calls_ & 7) != 0 || std::chrono::steady_clock::now() < deadline_) return;
  throw Error(ErrorCode::bad_input, "the pre-tokenizer pattern \"" + pattern +
                                        "\" takes too long on this text: it backtracks without end; "
                                        "use the tokenizer file that the model was published with");
}

void Regex::FreeCode::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

Regex::Regex(std::string pattern) : pattern_(std::move(pattern)) {
  if (pattern_.size() > kPatternBytesMax) {
    throw Error(ErrorCode::bad_input, "a pattern of " + std::to_string(pattern_.size()) + " bytes; at most " +
                                          std::to_string(kPatternBytesMax) + " are accepted");
  }
  const std::string translated = to_pcre2_dialect(pattern_);
  uses_categories_ = worker::uses_categories(pattern_);
  struct FreeContext {
    void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
  };
  const std::unique_ptr<pcre2_compile_context, FreeContext> context(pcre2_compile_context_create(nullptr));
  QUENCH_CHECK(context != nullptr);
  pcre2_set_parens_nest_limit(context.get(), kParenthesesMax);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  // MULTILINE: Ruby's ^ and $ always match at lines.
  code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
                            &offset, context.get()));
  if (!code_) {
    throw Error(ErrorCode::bad_input, "the pattern \"" + pattern_ + "\" is wrong at byte " +
                                          std::to_string(offset) + ": " + pcre2_message(error));
  }
  // Without a JIT (or for a pattern it cannot take) the interpreter runs: the same matches, slower.
  pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
}

Matcher::Matcher(const Regex& regex, MatchBudget& budget) : regex_(regex), budget_(budget) {
  data_ = pcre2_match_data_create(1, nullptr);
  context_ = pcre2_match_context_create(nullptr);
  QUENCH_CHECK(data_ != nullptr && context_ != nullptr);
  pcre2_set_match_limit(context_, kMatchStepsMax);
  pcre2_set_heap_limit(context_, kMatchHeapKibMax);
}

Matcher::~Matcher() {
  pcre2_match_data_free(data_);
  pcre2_match_context_free(context_);
}

void Matcher::start(std::string_view subject) {
  subject_ = subject;
  search_from_ = 0;
  last_end_ = SIZE_MAX;
}

bool Matcher::next(std::size_t& begin, std::size_t& end) {
  while (search_from_ <= subject_.size()) {
    budget_.spend(regex_.pattern());
    // The text is well formed since utf8_lossy(); PCRE2 would check all of it again at every match.
    const auto match = [&](std::uint32_t options) {
      return pcre2_match(regex_.code_.get(), reinterpret_cast<PCRE2_SPTR>(subject_.data()), subject_.size(),
                         search_from_, options | PCRE2_NO_UTF_CHECK, data_, context_);
    };
    int result = match(0);
    // The JIT has 32 KiB of stack, the interpreter kMatchHeapKibMax.
    if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = match(PCRE2_NO_JIT);
    if (result == PCRE2_ERROR_NOMATCH) return false;
    if (result < 0) {
      throw Error(ErrorCode::bad_input, "the pre-tokenizer pattern \"" + regex_.pattern() +
                                            "\" exceeds its limit on this text (" + pcre2_message(result) +
                                            "): it backtracks too much; use the tokenizer file that the "
                                            "model was published with");
    }
    const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data_);
    begin = bounds[0];
    end = bounds[1];
    // \K in a look-ahead may set begin after end; no pattern that gets here has it, but a match must
    // never lead outside of the text.
    if (begin > end || end > subject_.size()) {
      throw Error(ErrorCode::bad_input, "the pattern \"" + regex_.pattern() + "\" matches backwards");
    }
    if (begin == end && end == last_end_) {
      if (search_from_ >= subject_.size()) return false;
      search_from_ += utf8_decode(subject_, search_from_).bytes;
      continue;
    }
    search_from_ = end;
    last_end_ = end;
    return true;
  }
  return false;
}

}  // namespace quench::worker
