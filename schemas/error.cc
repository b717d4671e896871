#include "schemas/error.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <utility>

namespace quench {
namespace {

struct CodeName {
  ErrorCode code;
  std::string_view name;
  int exit_code;
};

constexpr std::array kCodes = {
    CodeName{ErrorCode::bad_input, "bad_input", 2},      CodeName{ErrorCode::failed, "failed", 1},
    CodeName{ErrorCode::refused, "refused", 3},          CodeName{ErrorCode::unreachable, "unreachable", 4},
    CodeName{ErrorCode::interrupted, "interrupted", 75}, CodeName{ErrorCode::corrupt, "corrupt", 1},
    CodeName{ErrorCode::timed_out, "timed_out", 1},      CodeName{ErrorCode::internal, "internal", 1},
};

const CodeName& entry(ErrorCode code) {
  for (const CodeName& candidate : kCodes)
    if (candidate.code == code) return candidate;
  return kCodes.back();
}

}  // namespace

std::string_view to_string(ErrorCode code) { return entry(code).name; }

ErrorCode error_code_from_string(std::string_view name) {
  for (const CodeName& candidate : kCodes)
    if (candidate.name == name) return candidate.code;
  throw Error(ErrorCode::bad_input, "unknown error code \"" + std::string(name) + "\"");
}

int exit_code(ErrorCode code) { return entry(code).exit_code; }

Error::Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) { render(); }

Error& Error::with_context(std::string context) {
  contexts_.insert(contexts_.begin(), std::move(context));
  render();
  return *this;
}

void Error::render() {
  text_.clear();
  for (const std::string& context : contexts_) text_ += context + ": ";
  text_ += message_;
}

Error errno_error(ErrorCode code, const std::string& what, int errno_value) {
  return Error(code, what + ": " + std::generic_category().message(errno_value));
}

void check_failed(const char* expression, const char* file, int line, const std::string& operands) {
  std::fprintf(stderr, "quench: invariant broken: %s%s at %s:%d\n", expression, operands.c_str(), file, line);
  std::abort();
}

}  // namespace quench
