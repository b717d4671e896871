#include "worker/evaluate/grader.h"

#include <sched.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#include "schemas/error.h"
#include "worker/evaluate/sandbox/home_core.h"
#include "worker/evaluate/sandbox/java_host.h"
#include "worker/evaluate/sandbox/java_sandbox.h"
#include "worker/evaluate/sandbox/probe.h"
#include "worker/evaluate/sandbox/sandbox.h"

namespace quench::worker {
namespace {

// An answer that is run again, alone, may wait this much longer for a busy host; its CPU limit stays.
constexpr std::uint32_t kAloneWallFactor = 15;

int cores_we_may_use() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

// The answer without its tests: a completion needs what the prompt opens, a solution brings its own imports
// and signature. (A program has its tests in it.)
std::string source_of(const Submission& submission) {
  if (submission.form == SubmissionForm::completion) {
    return with_prompt(*submission.problem, submission.text) + "\n";
  }
  return submission.text + "\n";
}

// What a thread runs answers with.
class Runner {
 public:
  virtual ~Runner() = default;
  virtual Attempt run(const Submission& submission, std::uint32_t wall_ms) = 0;
};

class PythonRunner : public Runner {
 public:
  PythonRunner(const SandboxHost& host, const SandboxLimits& limits, Cores& cores)
      : home_(cores), sandbox_(host, limits) {}
  Attempt run(const Submission& submission, std::uint32_t wall_ms) override {
    if (home_.look()) sandbox_.move_to(home_.core());
    const std::string source = source_of(submission);
    return submission.form == SubmissionForm::program
               ? sandbox_.run_program(source, wall_ms)
               : sandbox_.run_answer(*submission.problem, source, wall_ms);
  }

 private:
  HomeCore home_;
  Sandbox sandbox_;
};

// An answer in Java is a part of one program with its tests, and shares a process with them.
class JavaRunner : public Runner {
 public:
  JavaRunner(const SandboxHost& host, const JavaHost& java, const SandboxLimits& limits)
      : sandbox_(host, java, limits) {}
  Attempt run(const Submission& submission, std::uint32_t wall_ms) override {
    const bool brings_tests = submission.form == SubmissionForm::program;
    return sandbox_.run_program(source_of(submission), wall_ms,
                                brings_tests ? std::string_view() : submission.problem->test);
  }

 private:
  JavaSandbox sandbox_;
};

}  // namespace

GraderOptions options_for(Benchmark benchmark, Language language) {
  GraderOptions options;
  options.benchmark = benchmark;
  options.language = language;
  options.limits.cpu_ms = language == Language::java ? kJavaCpuMs : time_limit_ms(benchmark);
  return options;
}

// Sandboxes end with the thread that starts them, so each has a thread for as long as the grader lives.
struct Grader::State {
  explicit State(GraderOptions given) : options(std::move(given)) {}

  GraderOptions options;
  std::string confined_by;
  Cores cores;
  std::mutex mutex;
  std::condition_variable work, idle;
  // One batch at a time; `queue` holds what no thread has taken yet, last first.
  std::span<const Submission> submissions;
  std::vector<Execution>* results = nullptr;
  const std::function<void(std::size_t, const Execution&)>* on_done = nullptr;
  std::vector<std::size_t> queue;
  std::vector<std::size_t> again;
  bool alone = false;
  int running = 0;
  int starting = 0;
  bool stopping = false;
  std::exception_ptr failure;
  std::vector<std::thread> threads;

  void serve(const std::optional<JavaHost>& java, const SandboxHost& host);
  void serve_queue(Runner& runner);
  void drain(std::unique_lock<std::mutex>& lock);
  void stop();
};

void Grader::State::serve(const std::optional<JavaHost>& java, const SandboxHost& host) {
  try {
    std::unique_ptr<Runner> runner;
    if (java) {
      runner = std::make_unique<JavaRunner>(host, *java, options.limits);
    } else {
      runner = std::make_unique<PythonRunner>(host, options.limits, cores);
    }
    {
      const std::lock_guard lock(mutex);
      --starting;
      idle.notify_all();
    }
    serve_queue(*runner);
  } catch (...) {
    // Rethrown to the thread that waits in the constructor or in grade().
    const std::lock_guard lock(mutex);
    if (!failure) failure = std::current_exception();
    idle.notify_all();
  }
}

void Grader::State::serve_queue(Runner& runner) {
  std::unique_lock lock(mutex);
  while (true) {
    work.wait(lock, [&] { return stopping || (!queue.empty() && (!alone || running == 0)); });
    if (stopping) return;
    const std::size_t index = queue.back();
    queue.pop_back();
    ++running;
    const bool is_alone = alone;
    lock.unlock();

    const Submission& submission = submissions[index];
    const std::uint32_t wall_ms = options.limits.end_ms() * (is_alone ? kAloneWallFactor : 1);
    std::exception_ptr broken;
    Attempt attempt;
    try {
      attempt = runner.run(submission, wall_ms);
    } catch (...) {
      broken = std::current_exception();
    }

    lock.lock();
    --running;
    if (broken) {
      queue.clear();
      if (!failure) failure = broken;
      idle.notify_all();
      return;
    }
    if (attempt.inconclusive && !is_alone) {
      again.push_back(index);
    } else {
      (*results)[index] = std::move(attempt.execution);
      if (on_done != nullptr && *on_done) (*on_done)(index, (*results)[index]);
    }
    if (is_alone) work.notify_all();
    if (running == 0 && queue.empty()) idle.notify_all();
  }
}

void Grader::State::drain(std::unique_lock<std::mutex>& lock) {
  work.notify_all();
  idle.wait(lock, [&] { return running == 0 && (failure || queue.empty()); });
  if (failure) std::rethrow_exception(failure);
}

void Grader::State::stop() {
  {
    const std::lock_guard lock(mutex);
    stopping = true;
  }
  work.notify_all();
  for (std::thread& thread : threads) thread.join();
}

Grader::Grader(GraderOptions options) : state_(std::make_unique<State>(std::move(options))) {
  State& state = *state_;
  require_language(state.options.benchmark, state.options.language);
  const SandboxHost host = usable_sandbox_host(state.options.bwrap, state.options.python, state.options.limits,
                                               state.options.weakest);
  state.confined_by = in_words(host);
  std::optional<JavaHost> java;
  if (state.options.language == Language::java) {
    if (host.confinement == Confinement::landlock)
      throw Error(ErrorCode::bad_input, "Java programs run in namespaces only, which this host forbids");
    java = find_java_host(state.options.java_home);
  }
  if (state.options.sandboxes < 0 || state.options.sandboxes > 1024) {
    throw Error(ErrorCode::bad_input,
                "sandboxes is " + std::to_string(state.options.sandboxes) + "; expected 0 to 1024");
  }
  const int count = state.options.sandboxes > 0 ? state.options.sandboxes : cores_we_may_use();
  state.starting = count;
  for (int i = 0; i < count; ++i)
    state.threads.emplace_back([&state, java, host] { state.serve(java, host); });
  std::unique_lock lock(state.mutex);
  state.idle.wait(lock, [&] { return state.starting == 0 || state.failure; });
  if (state.failure) {
    const std::exception_ptr failure = state.failure;
    lock.unlock();
    state.stop();
    std::rethrow_exception(failure);
  }
}

Grader::~Grader() {
  if (state_ && !state_->stopping) state_->stop();
}

const std::string& Grader::confined_by() const { return state_->confined_by; }

std::vector<Execution> Grader::grade(std::span<const Submission> submissions,
                                     const std::function<void(std::size_t, const Execution&)>& on_done) {
  for (const Submission& submission : submissions) {
    if (submission.form != SubmissionForm::program && submission.problem == nullptr) {
      throw Error(ErrorCode::internal, "a completion or solution without its problem");
    }
  }
  State& state = *state_;
  std::vector<Execution> results(submissions.size());
  std::unique_lock lock(state.mutex);
  if (state.failure) std::rethrow_exception(state.failure);
  state.submissions = submissions;
  state.results = &results;
  state.on_done = &on_done;
  state.again.clear();
  for (std::size_t i = submissions.size(); i > 0; --i) state.queue.push_back(i - 1);
  state.alone = false;
  state.drain(lock);
  if (!state.again.empty()) {
    state.queue = std::exchange(state.again, {});
    state.alone = true;
    state.drain(lock);
  }
  return results;
}

}  // namespace quench::worker
