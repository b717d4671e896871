#include "worker/evaluate/evaluation.h"

#include <chrono>
#include <map>
#include <mutex>
#include <set>

#include "schemas/error.h"
#include "worker/evaluate/answers.h"
#include "worker/evaluate/execution_queue.h"

namespace quench::worker {
namespace {

using Clock = std::chrono::steady_clock;

// Adds the time it lives.
class Stopwatch {
 public:
  explicit Stopwatch(double& seconds) : seconds_(seconds) {}
  ~Stopwatch() { seconds_ += std::chrono::duration<double>(Clock::now() - began_).count(); }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  double& seconds_;
  Clock::time_point began_ = Clock::now();
};

// The coordinator's patience is 600 s.
constexpr std::chrono::seconds kRenewEvery{20};

// The leases this worker holds: generated, waiting, executed. Any sign of work renews all of them.
class HeldLeases {
 public:
  HeldLeases(LeaseSource& source, std::uint32_t number) : source_(source), number_(number) {}

  void add(LeaseId lease) {
    const std::lock_guard lock(mutex_);
    held_.insert(lease);
  }
  void remove(LeaseId lease) {
    const std::lock_guard lock(mutex_);
    held_.erase(lease);
  }
  void on_progress() {
    const std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    if (now - renewed_ < kRenewEvery) return;
    renewed_ = now;
    for (const LeaseId lease : held_) source_.renew_lease({lease, number_});
  }

 private:
  LeaseSource& source_;
  std::uint32_t number_;
  std::mutex mutex_;
  std::set<LeaseId> held_;
  Clock::time_point renewed_ = Clock::now();
};

// A lease's verdicts go into one message of 8 MiB: kLeaseItems × 2 texts × 96 KiB is 6 MiB. No budget of tokens
// that people use comes near it; a longer text is executed, and kept, as far as this.
constexpr std::size_t kTextBytesMax = 96 << 10;

std::string_view bounded(std::string_view text) {
  if (text.size() <= kTextBytesMax) return text;
  std::size_t end = kTextBytesMax;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // not inside a character
  return text.substr(0, end);
}

std::vector<Verdict> execute(Grader& grader, const EvaluateSpec& spec, const ProblemSet& problems,
                             const GeneratedLease& lease, const std::function<void()>& on_progress) {
  const std::vector<LeaseItem>& items = lease.grant.items;
  std::vector<std::string> answers;
  std::vector<Submission> submissions;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Problem& problem = problems.problems().at(items[i].task);
    answers.push_back(answer_in(spec, problems, problem, bounded(lease.texts[i].text)));
    submissions.push_back(submission_of(spec, problems, problem, answers.back()));
  }
  const std::vector<Execution> executions =
      grader.grade(submissions, [&](std::size_t, const Execution&) { on_progress(); });
  std::vector<Verdict> verdicts;
  for (std::size_t i = 0; i < items.size(); ++i) {
    Verdict& verdict = verdicts.emplace_back();
    verdict.task = items[i].task;
    verdict.sample = items[i].sample;
    verdict.result = executions[i].result;
    verdict.completion = answers[i];
    if (const std::string_view output = bounded(lease.texts[i].text); output != verdict.completion)
      verdict.output = output;
    verdict.tokens = lease.texts[i].tokens;
    verdict.cpu_seconds = static_cast<double>(executions[i].cpu_ms) / 1000.0;
    verdict.detail = executions[i].detail;
    if (const std::string note = empty_answer_note(spec, lease.texts[i].tokens);
        lease.texts[i].text.empty() && !note.empty())
      verdict.detail = note + (verdict.detail.empty() ? "" : "; " + verdict.detail);
    verdict.isolated = executions[i].isolated;
    verdict.confinement = executions[i].confinement;
  }
  return verdicts;
}

// A text for each item of the lease: another worker's where it has left one, else generated here.
struct LeaseTexts {
  MadeTexts texts;
  std::vector<MadeText> fresh;
};
LeaseTexts make_texts(const LeaseGrant& grant, const std::function<MadeTexts(const std::vector<LeaseItem>&)>& make) {
  std::map<std::pair<std::uint32_t, std::uint32_t>, const MadeText*> left;
  for (const MadeText& text : grant.made) left[{text.task, text.sample}] = &text;
  std::vector<LeaseItem> missing;
  for (const LeaseItem& item : grant.items)
    if (!left.contains({item.task, item.sample})) missing.push_back(item);
  LeaseTexts all;
  MadeTexts made;
  if (!missing.empty()) made = make(missing);
  all.texts.failure = made.failure;
  std::size_t next = 0;
  for (const LeaseItem& item : grant.items) {
    if (const auto found = left.find({item.task, item.sample}); found != left.end()) {
      all.texts.texts.push_back(GeneratedText{found->second->text, found->second->tokens});
      continue;
    }
    std::optional<GeneratedText>& text = made.texts.at(next++);
    if (text) all.fresh.push_back({item.task, item.sample, std::string(bounded(text->text)), text->tokens});
    all.texts.texts.push_back(std::move(text));
  }
  return all;
}

// The items that have a text; the coordinator lends the others again.
GeneratedLease generated(const LeaseGrant& grant, std::vector<std::optional<GeneratedText>> texts) {
  GeneratedLease lease;
  lease.grant.lease = grant.lease;
  for (std::size_t i = 0; i < grant.items.size(); ++i) {
    if (!texts.at(i)) continue;
    lease.grant.items.push_back(grant.items[i]);
    lease.texts.push_back(*std::move(texts[i]));
  }
  return lease;
}

void check_items(const LeaseGrant& grant, const ProblemSet& problems) {
  for (const LeaseItem& item : grant.items)
    if (item.task >= problems.problems().size())
      throw Error(ErrorCode::bad_input, "a lease names task " + std::to_string(item.task) + " of " +
                                            std::to_string(problems.problems().size()));
}

Error as_error(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    return error;
  } catch (const std::exception& error) {
    return Error(ErrorCode::internal, error.what());
  }
}

}  // namespace

EvaluationTimes run_evaluation(const EvaluateSpec& spec, std::uint32_t number, const OpenCompletions& open,
                               Grader& grader, LeaseSource& leases) {
  const ProblemSet problems =
      shipped_problems(benchmark_from_string(spec.benchmark), language_from_string(spec.language));
  BenchmarkInfo info;
  info.digest = problems.digest();
  info.number = number;
  for (const Problem& problem : problems.problems()) info.task_ids.push_back(problem.task_id);
  leases.describe(info);

  HeldLeases held(leases, number);
  const auto on_progress = [&held] { held.on_progress(); };
  std::unique_ptr<CompletionSource> completions;
  EvaluationTimes times;  // its executing_seconds belong to the queue's thread until finish()
  Clock::time_point began;
  ExecutionQueue execution(
      [&](const GeneratedLease& lease) {
        const Stopwatch watch(times.executing_seconds);
        leases.return_verdicts({lease.grant.lease, execute(grader, spec, problems, lease, on_progress), number});
        held.remove(lease.grant.lease);
      },
      // The compute thread may be waiting for a lease that only comes when this one's verdicts are in.
      [&](const std::exception_ptr& failure) { leases.abandon(as_error(failure)); });
  LeaseRequest request{kLeaseItems, number, {}, {}};
  for (;;) {
    const LeaseGrant grant = leases.next_lease(request);
    if (grant.items.empty()) break;
    check_items(grant, problems);
    held.add(grant.lease);
    LeaseTexts texts = make_texts(grant, [&](const std::vector<LeaseItem>& items) {
      if (!completions) {
        completions = open(problems);
        began = Clock::now();
      }
      const Stopwatch watch(times.generating_seconds);
      times.completions += static_cast<std::uint32_t>(items.size());
      return completions->make(items, on_progress);
    });
    request.lease = grant.lease;
    request.made = std::move(texts.fresh);
    MadeTexts& made = texts.texts;
    execution.put(generated(grant, std::move(made.texts)));
    if (made.failure) {
      // The verdicts on what was generated before it are worth having.
      execution.finish();
      throw Error(*made.failure);
    }
  }
  execution.finish();
  if (completions) times.seconds = std::chrono::duration<double>(Clock::now() - began).count();
  return times;
}

}  // namespace quench::worker
