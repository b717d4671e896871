#include "worker/evaluate/grade_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <string>
#include <unordered_set>
#include <vector>

#include <nlohmann/json.hpp>

#include "schemas/error.h"
#include "worker/evaluate/answers.h"
#include "worker/evaluate/json_lines.h"
#include "worker/evaluate/sandbox/owned_fd.h"

namespace quench::worker {
namespace {

using Json = nlohmann::ordered_json;

struct Form {
  const char* field;
  SubmissionForm form;
};
constexpr std::array kForms{Form{"completion", SubmissionForm::completion},
                            Form{"solution", SubmissionForm::solution},
                            Form{"program", SubmissionForm::program}};

const Problem& problem_of(const std::string& task_id, const ProblemSet& problems) {
  if (const Problem* const found = problems.find(task_id)) return *found;
  throw Error(ErrorCode::bad_input, "unknown task_id \"" + task_id + "\"; " +
                                        std::string(to_string(problems.benchmark())) + " has " +
                                        problems.problems().front().task_id + " to " +
                                        problems.problems().back().task_id);
}

Submission kept_submission(const Json& line, const ProblemSet& problems, const EvaluateSpec& settings) {
  const Problem& problem = problem_of(required_string(line, "task_id"), problems);
  const std::string text = required_string(line, line.contains("output") ? "output" : "completion");
  return submission_of(settings, problems, problem, answer_in(settings, problems, problem, text));
}

Submission parse_submission(const Json& line, const ProblemSet& problems) {
  Submission submission;
  // MBPP's own ids are numbers.
  const auto id = line.find("task_id");
  const std::string task_id =
      id != line.end() && id->is_number_integer() ? id->dump() : required_string(line, "task_id");
  const Form* found = nullptr;
  for (const Form& form : kForms) {
    if (!line.contains(form.field)) continue;
    if (found != nullptr) {
      throw Error(ErrorCode::bad_input, std::string("both \"") + found->field + "\" and \"" + form.field +
                                            "\" are given; expected one of them");
    }
    found = &form;
  }
  if (found == nullptr) {
    throw Error(ErrorCode::bad_input, "expected one of the fields \"completion\", \"solution\", \"program\"");
  }
  submission.form = found->form;
  submission.text = required_string(line, found->field);
  submission.problem = &problem_of(task_id, problems);
  return submission;
}

// A file beside `out` that becomes `out` when it is whole, or vanishes.
class PendingFile {
 public:
  explicit PendingFile(const std::filesystem::path& out)
      : out_(out), pending_(out.string() + ".pending-" + std::to_string(::getpid())) {
    if (std::filesystem::is_directory(out)) {
      throw Error(ErrorCode::bad_input,
                  out.string() + " is a directory; expected the name of a file to write");
    }
    file_ = OwnedFd(::open(pending_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (file_.get() < 0) throw errno_error(ErrorCode::bad_input, "cannot write " + pending_.string(), errno);
  }
  ~PendingFile() {
    if (!published_) ::unlink(pending_.c_str());
  }
  PendingFile(const PendingFile&) = delete;
  PendingFile& operator=(const PendingFile&) = delete;

  void write(std::string_view text) {
    while (!text.empty()) {
      const ssize_t count = ::write(file_.get(), text.data(), text.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) throw errno_error(ErrorCode::failed, "cannot write " + pending_.string(), errno);
      text.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  void publish() {
    if (::fsync(file_.get()) != 0 || ::rename(pending_.c_str(), out_.c_str()) != 0) {
      throw errno_error(ErrorCode::failed, "cannot publish " + out_.string(), errno);
    }
    published_ = true;
  }

 private:
  std::filesystem::path out_;
  std::filesystem::path pending_;
  OwnedFd file_;
  bool published_ = false;
};

void append_line(std::string& text, Json line, const Problem& problem, const Execution& execution) {
  line["task_id"] = problem.task_id;  // in its one form, so that files of different origin can be compared
  line["passed"] = execution.passed();
  line["result"] = std::string(to_string(execution.result));
  line["detail"] = execution.detail;
  line["cpu_ms"] = execution.cpu_ms;
  line["wall_ms"] = execution.wall_ms;
  line["isolated"] = execution.isolated;
  line["confinement"] = std::string(to_string(execution.confinement));
  // What an answer prints need not be UTF-8.
  text += line.dump(-1, ' ', false, Json::error_handler_t::replace);
  text += '\n';
}

std::vector<std::string> missing_tasks(const ProblemSet& problems, const std::vector<Submission>& submissions) {
  std::unordered_set<const Problem*> seen;
  for (const Submission& submission : submissions) seen.insert(submission.problem);
  std::vector<std::string> missing;
  for (const Problem& problem : problems.problems())
    if (!seen.contains(&problem)) missing.push_back(problem.task_id);
  return missing;
}

}  // namespace

GradeFileReport grade_file(Benchmark benchmark, Language language,
                           const std::optional<std::filesystem::path>& problems_path,
                           const std::filesystem::path& completions, const std::filesystem::path& out,
                           const GraderOptions& options,
                           const std::function<void(std::size_t, std::size_t)>& on_progress,
                           const EvaluateSpec* settings) {
  const auto started = std::chrono::steady_clock::now();
  const ProblemSet problems = problems_path ? problems_from_file(benchmark, language, *problems_path)
                                            : shipped_problems(benchmark, language);
  std::vector<Json> lines;
  std::vector<Submission> submissions;
  in_context(completions.string(), [&] {
    for_each_json_line(read_text_file(completions), [&](std::size_t, Json line) {
      submissions.push_back(settings != nullptr ? kept_submission(line, problems, *settings)
                                               : parse_submission(line, problems));
      lines.push_back(std::move(line));
    });
    if (lines.empty())
      throw Error(ErrorCode::bad_input, "no lines in it; expected one JSON object per answer");
  });

  PendingFile pending(out);
  GraderOptions with_benchmark = options;
  with_benchmark.benchmark = benchmark;
  with_benchmark.language = language;
  Grader grader(with_benchmark);
  std::size_t done = 0;
  const std::vector<Execution> executions = grader.grade(submissions, [&](std::size_t, const Execution&) {
    if (on_progress) on_progress(++done, submissions.size());
  });

  GradeFileReport report;
  report.tasks = problems.problems().size();
  report.missing_tasks = missing_tasks(problems, submissions);
  report.problems = problems.digest();
  report.lines = lines.size();
  report.confined_by = grader.confined_by();
  std::string block;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    report.passed += executions[i].passed();
    append_line(block, std::move(lines[i]), *submissions[i].problem, executions[i]);
    if (block.size() > (1 << 20)) {
      pending.write(block);
      block.clear();
    }
  }
  pending.write(block);
  pending.publish();
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return report;
}

}  // namespace quench::worker
