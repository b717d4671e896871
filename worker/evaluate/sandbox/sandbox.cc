#include "worker/evaluate/sandbox/sandbox.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <functional>

#include "schemas/error.h"
#include "worker/evaluate/sandbox/answer_run.h"
#include "worker/evaluate/sandbox/desk.h"
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

Sandbox::Sandbox(SandboxHost host, SandboxLimits limits) : host_(std::move(host)), limits_(limits) {
  replace(answers_, ZygoteKind::answers);
  replace(examiner_, ZygoteKind::tests);
}

Sandbox::~Sandbox() = default;

void Sandbox::replace(std::unique_ptr<Zygote>& zygote, ZygoteKind kind) {
  if (kind == ZygoteKind::tests) desk_.reset();
  zygote.reset();
  zygote = std::make_unique<Zygote>(host_, limits_, SandboxProgram{}, kind);
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

void Sandbox::follow() {
  if (!move_to_) return;
  const int core = *std::exchange(move_to_, std::nullopt);
  for (Zygote* zygote : {answers_.get(), examiner_.get()}) zygote->send({{"core", core}});
  if (desk_) desk_->move_to(core);
}

Attempt Sandbox::guarded(Attempt (Sandbox::*run)(const Problem*, const std::string&, std::uint32_t),
                         const Problem* problem, const std::string& source, std::uint32_t wall_ms) {
  try {
    follow();
    Attempt attempt = (this->*run)(problem, source, wall_ms);
    attempt.execution.confinement = host_.confinement;
    return attempt;
  } catch (const Error& error) {
    std::optional<std::string> out_of_memory;
    if (examiner_->was_out_of_memory()) out_of_memory = "the tests: " + in_words(VerdictResult::out_of_memory, limits_);
    if (answers_->was_out_of_memory()) out_of_memory = in_words(VerdictResult::out_of_memory, limits_);
    replace(answers_, ZygoteKind::answers);
    replace(examiner_, ZygoteKind::tests);
    Attempt attempt = attempt_of_lost_sandbox(error, out_of_memory);
    attempt.execution.isolated = problem != nullptr;
    attempt.execution.confinement = host_.confinement;
    return attempt;
  }
}

bool Sandbox::desk_takes(const std::string& tests) {
  // Tests that go elsewhere end the desk, and the next one would read them again (HumanEval+'s are long). Two texts
  // with one hash would only send tests to a process of their own that need none.
  const std::size_t hash = std::hash<std::string>{}(tests);
  if (refused_by_desk_.count(hash) != 0) return false;
  if (desk_ && desk_->is_used_up()) desk_.reset();
  try {
    if (!desk_) desk_ = std::make_unique<Desk>(*examiner_, limits_, next_id_++);
    const bool takes = desk_->takes(tests, SandboxClock::now() + kReplyGrace);
    if (!takes) refused_by_desk_.insert(hash);
    return takes;
  } catch (const Error&) {
    // It ended while nothing ran: the zygote clears up before whatever comes next.
    desk_.reset();
    return false;
  }
}

// The zygote ends the tests' process and tells how it had ended, if it had.
Report Sandbox::end_desk(std::uint64_t id, const char* reason) {
  examiner_->send({{"role", "close"}, {"id", id}, {"reason", reason}});
  Report report = parse_report(examiner_->receive(SandboxClock::now() + kReplyGrace), id);
  report.waited_ms -= std::min(report.waited_ms, desk_->waited_before_ms());
  desk_.reset();
  return report;
}

Attempt Sandbox::try_answer(const Problem* problem, const std::string& source, std::uint32_t wall_ms) {
  const std::uint64_t id = next_id_++;
  const std::string nonce = fresh_nonce();
  const Json fields = tests_of(*problem);
  std::string tests_text;
  bool at_desk = false;
  // A script is a program of its own: it changes sys.modules, and imports what it likes.
  if (problem->test_form == TestForm::check_function) {
    tests_text = fields.dump(-1, ' ', false, Json::error_handler_t::replace);
    at_desk = desk_takes(tests_text);
  }
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    throw errno_error(ErrorCode::failed, "socketpair for a program", errno);
  }
  OwnedFd answer_end(ends[0]), examiner_end(ends[1]);
  AnswerRun run(*answers_, limits_, id, source, wall_ms, answer_end.get());
  if (at_desk) {
    desk_->examine(tests_text, id, nonce, limits_.end_ms(), examiner_end.get());
  } else {
    Json request = run_request(id, "examine", limits_, wall_ms + kExaminerExtraMs);
    request["problem"] = fields;
    request["nonce"] = nonce;
    examiner_->send(request, examiner_end.get());
    desk_.reset();  // the zygote has one of the two at a time
  }
  // Each side sees the end of the other only when nobody else holds the channel.
  answer_end.reset();
  examiner_end.reset();

  const auto tests_due = SandboxClock::now() + std::chrono::milliseconds(wall_ms + kExaminerExtraMs);
  const auto broken_at = tests_due + kReplyGrace;
  std::optional<Report>& answer = run.report();
  std::optional<Report> tests;
  while (!answer || !tests) {
    const std::array<pollfd, 3> of_answer = run.entries();
    const int from_tests = tests ? -1 : at_desk ? desk_->socket() : examiner_->control();
    pollfd entries[4] = {of_answer[0], of_answer[1], of_answer[2], {from_tests, POLLIN, 0}};
    const auto due = std::min({run.due(), broken_at, at_desk && !tests ? tests_due : broken_at});
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(due - SandboxClock::now()).count();
    ::poll(entries, 4, static_cast<int>(std::max<std::int64_t>(left, 0)));
    if (SandboxClock::now() >= broken_at)
      throw Error(ErrorCode::timed_out, "the sandbox did not answer in time");
    run.look(broken_at);
    if (tests) continue;
    if (!at_desk && entries[3].revents != 0) {
      tests = parse_report(examiner_->receive(broken_at), id);
    } else if (at_desk && entries[3].revents != 0) {
      try {
        tests = desk_->receive(id, broken_at);
      } catch (const Error&) {
        tests = end_desk(id, "");
      }
    } else if (at_desk && SandboxClock::now() >= tests_due) {
      tests = end_desk(id, "timed_out");
    }
    if (tests) run.stop();
  }
  // What a busy host took from the tests it took from the answer that waited for them.
  if (answer->reason == "timed_out") answer->waited_ms += tests->waited_ms;

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
  if (result == "one_process") {
    attempt.needs_one_process = true;
  } else if (!conclude_by_limits(attempt, *answer, result == "passed", limits_, wall_ms)) {
    if (result == "compile_error") {
      conclude(attempt, VerdictResult::compile_error, detail);
    } else if (result == "gone") {
      conclude(attempt, VerdictResult::failed, answer->reason == "stopped" ? detail : ending(*answer));
    } else if (result == "failed") {
      conclude(attempt, failure_of(detail), detail);
    } else if (const auto tests_broken = broken_limit(*tests)) {
      conclude(attempt, *tests_broken, "the tests: " + in_words(*tests_broken, limits_));
    } else if (tests->reason == "timed_out" || ran_out_of_cpu(*tests, limits_)) {
      conclude(attempt, VerdictResult::timed_out, "the tests: " + in_words(VerdictResult::timed_out, limits_));
      attempt.inconclusive = starved(*tests, wall_ms);
    } else {
      conclude(attempt, VerdictResult::failed, "the tests gave no verdict: " + ending(*tests));
      attempt.inconclusive = true;
    }
  }

  if (answer->dirty) replace(answers_, ZygoteKind::answers);
  if (tests->dirty) replace(examiner_, ZygoteKind::tests);
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
  if (!conclude_by_limits(attempt, report, report.status == nonce, limits_, wall_ms)) {
    if (report.status.starts_with(kCompileError)) {
      conclude(attempt, VerdictResult::compile_error, report.status.substr(kCompileError.size()));
    } else if (report.status.starts_with(kError)) {
      execution.detail = report.status.substr(kError.size());
      execution.result = failure_of(execution.detail);
    } else {
      execution.detail = ending(report);
    }
  }
  if (report.dirty) replace(answers_, ZygoteKind::answers);
  return attempt;
}

}  // namespace quench::worker
