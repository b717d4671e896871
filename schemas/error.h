// Errors of Quench. Expected failures throw Error and are caught only at the edges (main, a rank's
// main, a message handler); foreign errors (errno, RocksDB, MPI, OpenSSL) become an Error once, at
// their fence. A broken invariant is QUENCH_CHECK: it prints its operands and ends the process.
// Safe to use from any thread.
#pragma once

#include <exception>
#include <functional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace quench {

enum class ErrorCode {
  bad_input,    // the user's file, option or model is wrong; exit 2, never retried
  failed,       // the work failed (a disk is full, a rank died); exit 1
  refused,      // not authorised; exit 3
  unreachable,  // a peer, socket or program cannot be reached; exit 4, retry elsewhere
  interrupted,  // a signal or a lost coordinator; exit 75, resumable
  corrupt,      // stored or received bytes do not have their digest; exit 1, never retried
  timed_out,    // a deadline passed; exit 1, may be retried
  internal,     // a bug in Quench; exit 1
};

std::string_view to_string(ErrorCode code);
// Throws Error(bad_input) on an unknown name.
ErrorCode error_code_from_string(std::string_view name);
// The process exit code of DESIGN.md section 7.
int exit_code(ErrorCode code);

// One failure: what was wrong, where (a chain of contexts, outermost first), what was expected and
// what to do. what() reads "block 17: down_proj: message".
class Error : public std::exception {
 public:
  Error(ErrorCode code, std::string message);
  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }
  const std::vector<std::string>& contexts() const { return contexts_; }
  const char* what() const noexcept override { return text_.c_str(); }
  // Prepends a context: with_context("block 17") makes "block 17: …".
  Error& with_context(std::string context);

 private:
  void render();
  ErrorCode code_;
  std::string message_;
  std::vector<std::string> contexts_;
  std::string text_;
};

// Runs `body`; an Error leaving it carries `context`.
template <typename Body>
auto in_context(const std::string& context, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (Error& error) {
    error.with_context(context);
    throw;
  }
}

// Error(code) whose message ends with errno's text: "cannot open X: No such file or directory".
Error errno_error(ErrorCode code, const std::string& what, int errno_value);

[[noreturn]] void check_failed(const char* expression, const char* file, int line,
                               const std::string& operands);

namespace detail {
template <typename... Operands>
std::string print_operands(const Operands&... operands) {
  std::ostringstream out;
  ((out << " [" << operands << "]"), ...);
  return out.str();
}
}  // namespace detail

}  // namespace quench

// An invariant of ours, checked in release builds too. Extra arguments are printed.
#define QUENCH_CHECK(condition, ...)                                                                         \
  do {                                                                                                       \
    if (!(condition)) [[unlikely]]                                                                           \
      ::quench::check_failed(#condition, __FILE__, __LINE__, ::quench::detail::print_operands(__VA_ARGS__)); \
  } while (false)
