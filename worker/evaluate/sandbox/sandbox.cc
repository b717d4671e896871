#include "worker/evaluate/sandbox/sandbox.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "schemas/error.h"
#include "worker/evaluate/sandbox/report.h"
#include "worker/evaluate/sandbox/zygote.h"

namespace quench::worker {
namespace {

using Json = nlohmann::json;

// The tests' process gets this on top of the answer's wall clock, so that the answer's own limit speaks
// first.
constexpr std::uint32_t kExaminerExtraMs = 2000;
// And the host this on top of both: a zygote that is later than that is broken.
constexpr auto kReplyGrace = std::chrono::seconds(20);

// What the examiner needs to know of a problem. `reference` is the problem's own code, which says what an answer must
// define.
Json tests_of(const Problem& problem) {
  return {{"form", problem.test_form == TestForm::check_function ? "check" : "script"},
          {"prompt", problem.prompt},
          {"entry_point", problem.entry_point},
          {"test", problem.test},
          {"reference", with_prompt(problem, problem.canonical_solution)}};
}

VerdictResult failure_of(const std::string& detail) {
  return detail.starts_with("MemoryError") ? VerdictResult::out_of_memory : VerdictResult::failed;
}

}  // namespace

Sandbox::Sandbox(SandboxHost host, SandboxLimits limits)
    : host_(std::move(host)),
      limits_(limits),
      answers_(std::make_unique<Zygote>(host_, limits_)),
      examiner_(std::make_unique<Zygote>(host_, limits_)) {}

Sandbox::~Sandbox() = default;

void Sandbox::replace(std::unique_ptr<Zygote>& zygote) {
  zygote.reset();
  zygote = std::make_unique<Zygote>(host_, limits_);
}

Attempt Sandbox::run_answer(const Problem& problem, const std::string& source, std::uint32_t wall_ms) {
  Attempt attempt = guarded(&Sandbox::try_answer, &problem, source, wall_ms);
  if (!attempt.needs_one_process) return attempt;
  Attempt together = guarded(&Sandbox::try_program, &problem, source, wall_ms);
  together.execution.isolated = false;
  return together;
}

Attempt Sandbox::run_program(const std::string& source, std::uint32_t wall_ms) {
  return guarded(&Sandbox::try_program, nullptr, source, wall_ms);
}

Attempt Sandbox::guarded(Attempt (Sandbox::*run)(const Problem*, const std::string&, std::uint32_t),
                         const Problem* problem, const std::string& source, std::uint32_t wall_ms) {
  try {
    return (this->*run)(problem, source, wall_ms);
  } catch (const Error& error) {
    // A zygote that died or fell silent: nothing it says counts any more.
    replace(answers_);
    replace(examiner_);
    Attempt attempt;
    attempt.inconclusive = true;
    attempt.execution.isolated = problem != nullptr;
    attempt.execution.detail = error.what();
    return attempt;
  }
}

Attempt Sandbox::try_answer(const Problem* problem, const std::string& source, std::uint32_t wall_ms) {
  const std::uint64_t id = next_id_++;
  const std::string nonce = fresh_nonce();
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    throw errno_error(ErrorCode::failed, "socketpair for a program", errno);
  }
  OwnedFd answer_end(ends[0]), examiner_end(ends[1]);
  Json answer_request = run_request(id, "answer", limits_, wall_ms);
  answer_request["source"] = source;
  Json tests_request = run_request(id, "examine", limits_, wall_ms + kExaminerExtraMs);
  tests_request["nonce"] = nonce;
  tests_request["problem"] = tests_of(*problem);
  answers_->send(answer_request, answer_end.get());
  examiner_->send(tests_request, examiner_end.get());
  // Each side sees the end of the other only when nobody else holds the channel.
  answer_end.reset();
  examiner_end.reset();

  const auto deadline =
      Zygote::Clock::now() + std::chrono::milliseconds(wall_ms + kExaminerExtraMs) + kReplyGrace;
  std::optional<Report> answer, tests;
  while (!answer || !tests) {
    // poll skips negative descriptors.
    pollfd entries[2] = {{answer ? -1 : answers_->control(), POLLIN, 0},
                         {tests ? -1 : examiner_->control(), POLLIN, 0}};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Zygote::Clock::now()).count();
    if (left <= 0) throw Error(ErrorCode::timed_out, "the sandbox did not answer in time");
    const int ready = ::poll(entries, 2, static_cast<int>(left));
    if (ready <= 0) continue;
    if (entries[0].revents != 0) answer = parse_report(answers_->receive(deadline), id);
    if (entries[1].revents != 0) {
      tests = parse_report(examiner_->receive(deadline), id);
      if (!answer) answers_->send({{"stop", id}});
    }
  }

  Attempt attempt;
  Execution& execution = attempt.execution;
  execution.cpu_ms = answer->cpu_ms + tests->cpu_ms;
  execution.wall_ms = std::max(answer->wall_ms, tests->wall_ms);
  execution.stderr_tail = answer->stderr_tail.empty() ? tests->stderr_tail : answer->stderr_tail;

  // The tests' verdict counts only with the nonce, which is known to nobody but that process.
  std::string result, detail;
  const Json verdict = Json::parse(tests->status, nullptr, false);
  if (verdict.is_object() && verdict.value("nonce", Json()) == Json(nonce)) {
    result = verdict.value("result", "");
    detail = verdict.value("detail", "");
  }
  const auto conclude = [&](VerdictResult verdict_result, std::string words) {
    execution.result = verdict_result;
    execution.detail = std::move(words);
  };
  if (result == "one_process") {
    attempt.needs_one_process = true;
  } else if (const auto broken = broken_limit(*answer)) {
    conclude(*broken, in_words(*broken, limits_));
  } else if (result == "passed") {
    conclude(VerdictResult::passed, "");
  } else if (answer->reason == "timed_out" || ran_out_of_cpu(*answer, limits_)) {
    conclude(VerdictResult::timed_out, in_words(VerdictResult::timed_out, limits_));
    attempt.inconclusive = starved(*answer, wall_ms);
  } else if (result == "compile_error") {
    conclude(VerdictResult::compile_error, detail);
  } else if (result == "gone") {
    conclude(VerdictResult::failed, answer->reason == "stopped" ? detail : ending(*answer));
  } else if (result == "failed") {
    conclude(failure_of(detail), detail);
  } else if (const auto tests_broken = broken_limit(*tests)) {
    conclude(*tests_broken, "the tests: " + in_words(*tests_broken, limits_));
  } else if (tests->reason == "timed_out" || ran_out_of_cpu(*tests, limits_)) {
    conclude(VerdictResult::timed_out, "the tests: " + in_words(VerdictResult::timed_out, limits_));
    attempt.inconclusive = starved(*tests, wall_ms);
  } else {
    conclude(VerdictResult::failed, "the tests gave no verdict: " + ending(*tests));
    attempt.inconclusive = true;
  }

  if (answer->dirty) replace(answers_);
  if (tests->dirty) replace(examiner_);
  return attempt;
}

Attempt Sandbox::try_program(const Problem* problem, const std::string& source, std::uint32_t wall_ms) {
  const std::uint64_t id = next_id_++;
  const std::string nonce = fresh_nonce();
  Json message = run_request(id, "program", limits_, wall_ms);
  message["nonce"] = nonce;
  message["source"] = source;
  if (problem != nullptr) message["tests"] = problem->test;
  answers_->send(message);
  const Report report = parse_report(
      answers_->receive(Zygote::Clock::now() + std::chrono::milliseconds(wall_ms) + kReplyGrace), id);

  Attempt attempt;
  Execution& execution = attempt.execution;
  execution.isolated = false;
  execution.cpu_ms = report.cpu_ms;
  execution.wall_ms = report.wall_ms;
  execution.stderr_tail = report.stderr_tail;
  static constexpr std::string_view kCompileError = "compile_error ", kError = "error ";
  if (const auto broken = broken_limit(report)) {
    execution.result = *broken;
    execution.detail = in_words(*broken, limits_);
  } else if (report.status == nonce) {
    execution.result = VerdictResult::passed;
  } else if (report.reason == "timed_out" || ran_out_of_cpu(report, limits_)) {
    execution.result = VerdictResult::timed_out;
    execution.detail = in_words(VerdictResult::timed_out, limits_);
    attempt.inconclusive = starved(report, wall_ms);
  } else if (report.status.starts_with(kCompileError)) {
    execution.result = VerdictResult::compile_error;
    execution.detail = report.status.substr(kCompileError.size());
  } else if (report.status.starts_with(kError)) {
    execution.detail = report.status.substr(kError.size());
    execution.result = failure_of(execution.detail);
  } else {
    execution.detail = ending(report);
  }
  if (report.dirty) replace(answers_);
  return attempt;
}

}  // namespace quench::worker
