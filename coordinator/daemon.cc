#include "coordinator/daemon.h"

#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <chrono>
#include <csignal>
#include <iostream>
#include <thread>
#include <utility>

#include "coordinator/calibration_sets.h"
#include "coordinator/clock.h"
#include "coordinator/http/views.h"
#include "coordinator/records.h"
#include "schemas/codec.h"
#include "schemas/endpoint_url.h"
#include "schemas/service_json.h"
#include "schemas/synthetic_model.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kTick{1};
// Reports, digests of models and lists of artifacts: what would hold the loop.
constexpr std::size_t kAsideThreads = 2;

QueueLimits limits_of(const ServeConfig& config) {
  QueueLimits limits;
  limits.slots = config.slots > 0 ? config.slots : std::max(1u, std::thread::hardware_concurrency());
  limits.gangs_max = config.gangs_max;
  limits.queued_max = config.queued_max;
  limits.jobs_per_user_max = config.jobs_per_user_max;
  limits.bytes_per_user_max = config.bytes_per_user_max;
  limits.keep_order_ms = std::int64_t{config.keep_order_seconds} * 1000;
  return limits;
}

// Throws unless `path`, links followed, lies under one of `roots`; no roots: anywhere.
void check_allowed(const std::string& path, const std::vector<std::string>& roots, const char* what) {
  if (roots.empty()) return;
  std::error_code error;
  const fs::path real = fs::weakly_canonical(path, error);
  for (const std::string& root : roots) {
    const fs::path allowed = fs::weakly_canonical(root, error);
    const auto [end, rest] = std::mismatch(allowed.begin(), allowed.end(), real.begin(), real.end());
    if (end == allowed.end()) return;
  }
  std::string list;
  for (const std::string& root : roots) list += (list.empty() ? "" : ", ") + root;
  throw Error(ErrorCode::bad_input, std::string(what) + " " + path +
                                        " is not where this service reads: expected it under " + list);
}

}  // namespace

Daemon::Daemon(DaemonOptions options, StoreCommandRunner run_command)
    : options_(std::move(options)),
      store_(ArtifactStore::open(options_.config.store, OpenMode::create)),
      events_(std::make_shared<EventHub>()),
      user_bytes_(store_),
      access_(::geteuid(), options_.config.local_users),
      store_server_(loop_, store_, options_.build, std::move(run_command),
                    [this](StoreServer::Work work) { run_aside(std::move(work)); }),
      signals_(loop_, SIGINT, SIGTERM),
      tick_(loop_),
      started_ms_(unix_now_ms()),
      pool_(kAsideThreads) {
  queue_.limits = limits_of(options_.config);
  for (const quench::JournalEvent& event : journal()) {
    if (const auto* moved = std::get_if<JobMoved>(&event)) {
      apply(queue_, *moved);
      remember(*moved);
    }
    if (const auto* token = std::get_if<TokenChanged>(&event)) access_.apply(*token);
    if (const auto* name = std::get_if<NameChanged>(&event)) named_by_[name->by].insert(name->artifact);
  }
  find_left_gangs();
}

void Daemon::find_left_gangs() {
  for (const auto& [number, job] : queue_.jobs) {
    // Or a service in between died before it had started the job again.
    const bool worked = job.state == JobState::running || job.state == JobState::cancelling || job.interrupted;
    if (!worked || job.job_id.is_none()) continue;
    const std::optional<State> state = find_job(store_, job.job_id);
    if (!state || state->left_gang.empty()) continue;
    if (auto folder = cluster::GangFolder::take(state->left_gang)) left_gangs_[number] = {std::move(folder), state->source};
    if (job.state != JobState::running && job.state != JobState::queued) end_left_gang(number);
  }
}

void Daemon::end_left_gang(JobNumber number) {
  auto left = left_gangs_.extract(number);
  if (left.empty()) return;
  // Destroying the gang ends its processes.
  cluster::make_launcher(loop_, options_.launcher)->adopt(std::move(left.mapped().folder), {});
}

Daemon::~Daemon() { pool_.join(); }

void Daemon::run() {
  signals_.async_wait([this](const boost::system::error_code& cancelled, int) {
    if (cancelled) return;
    decide([this] { on_service_stopping(queue_, *this, "the service stops"); });
    stop_if_over();
  });
  decide([this] { on_service_started(queue_, *this, unix_now_ms()); });
  schedule_tick();
  loop_.run();
}

std::vector<quench::JournalEvent> Daemon::journal() const {
  std::vector<quench::JournalEvent> events;
  for (const JournalEvent& event : store_.read_journal(kServiceJournal)) events.push_back(decode_journal_event(event.bytes));
  return events;
}

// --- Decisions of the queue -----------------------------------------------------------------------

JobNumber Daemon::submit(const JobSpec& job, std::int32_t priority, const QueueCaller& caller, const SubmittedBytes& bytes,
                         const std::vector<JobNumber>& after) {
  const JobNumber number = submit_job(queue_, *this, job, priority, caller, unix_now_ms(), bytes, after);
  settle();
  return number;
}

void Daemon::cancel(JobNumber number, const std::string& reason, const QueueCaller& caller) {
  cancel_job(queue_, *this, number, reason, caller, unix_now_ms());
  if (queue_.jobs.at(number).state == JobState::cancelled) end_left_gang(number);
  settle();
}

void Daemon::retry(JobNumber number, const QueueCaller& caller) {
  retry_job(queue_, *this, number, caller, unix_now_ms());
  settle();
}

NewToken Daemon::create_token(const TokenRequest& request, const std::string& by) {
  NewToken token = make_token(request, unix_now_ms());
  token.changed.by = by;
  write(token.changed);
  access_.apply(token.changed);
  return token;
}

void Daemon::revoke_token(const std::string& id, const std::string& by) {
  const TokenChanged changed = access_.revocation(id, by, unix_now_ms());
  write(changed);
  access_.apply(changed);
}

void Daemon::set_name(const std::string& name, const Digest& artifact, const std::string& by) {
  const std::int64_t now = unix_now_ms();
  Commit commit;
  commit.set_ref(name, artifact, static_cast<std::uint64_t>(now));
  commit.append_journal(kServiceJournal, encode(quench::JournalEvent(NameChanged{name, artifact, by, now})));
  store_.commit(commit);
  named_by_[by].insert(artifact);
}

void Daemon::publish(Commit commit, const std::vector<std::pair<std::string, Digest>>& names, const std::string& by,
                     std::int64_t now_ms) {
  for (const auto& [name, digest] : names)
    commit.append_journal(kServiceJournal, encode(quench::JournalEvent(NameChanged{name, digest, by, now_ms})));
  store_.commit(commit);
  user_bytes_.on_publish(by);
  boost::asio::post(loop_, [this, names, by] {
    for (const auto& [name, digest] : names) named_by_[by].insert(digest);
  });
}

UserWork Daemon::work_of(const std::string& user) const {
  UserWork work;
  for (const auto& [number, job] : queue_.jobs)
    if (job.user == user && job.ended_ms > 0 && !job.job_id.is_none()) work.ended_jobs.push_back({job.job_id, job.ended_ms});
  if (const auto named = named_by_.find(user); named != named_by_.end()) work.named = named->second;
  return work;
}

std::uint64_t Daemon::stored_bytes(const std::string& user, const UserWork& work) const {
  return user_bytes_.published(work) + user_bytes_.uploaded(user);
}

JobSpec Daemon::check_submission(const JobSpec& job) const {
  const std::vector<std::string>& roots = options_.config.allowed_paths;
  if (!is_endpoint(job.model) && !is_synthetic(job.model)) check_allowed(job.model, roots, "the model");
  for (const std::string& file : job.calibration.files) check_allowed(file, roots, "the calibration text");
  check_job_model(job);
  return with_calibration_set(store_, job);
}

void Daemon::write(const quench::JournalEvent& event) {
  Commit commit;
  commit.append_journal(kServiceJournal, encode(event));
  store_.commit(commit);
}

void Daemon::record(const JobMoved& moved) {
  write(moved);
  remember(moved);
  changed_.insert(moved.number);
}

void Daemon::remember(const JobMoved& moved) {
  std::vector<JobMoved>& history = history_[moved.number];
  history.push_back(moved);
  history.back().job.reset();
}

void Daemon::start(const QueuedJob& job) {
  const JobNumber number = job.number;
  const auto& run = runs_[number] = std::make_unique<JobRun>(number, events_);
  // What ranks at work have open is not read for its digest again: they would wait for it.
  std::optional<Digest> known;
  if (const auto left = left_gangs_.find(number); left != left_gangs_.end()) known = left->second.source;
  run_aside([this, number, spec = job.job, known, reading = run->reading()]() -> std::function<void()> {
    try {
      const JobSource source = known ? JobSource{*known, check_job_model(spec)}
                                     : read_job_source(spec, [&](std::uint64_t bytes) { reading->on_bytes(bytes); });
      return [this, number, source] { on_model_read(number, source); };
    } catch (const Error& error) {
      return [this, number, ending = JobEnding{false, error.code(), error.what()}] { end_job(number, ending); };
    }
  });
}

void Daemon::on_model_read(JobNumber number, const JobSource& source) {
  JobRun& run = *runs_.at(number);
  if (run.stop_reason()) return end_job(number, run.ending());
  const QueuedJob& job = queued_job(queue_, number);
  try {
    const Digest id = job_id(job.job, source.digest);
    if (!job.job_id.is_none() && job.job_id != id)
      throw Error(ErrorCode::bad_input, job.job.model + " holds another model than when this job began: bring the first one "
                                                        "back, or submit the job anew");
    if (!on_job_identified(queue_, *this, number, id, unix_now_ms())) {
      runs_.erase(number);
      return settle();
    }
    ServiceOptions options;
    options.worker = options_.worker;
    options.build = options_.build;
    options.launcher = options_.launcher;
    options.listen = options_.worker_listen;
    if (!options_.config.tls_certificate.empty() && !options_.config.plain_network)
      options.tls = cluster::TlsFiles{options_.config.tls_certificate, options_.config.tls_key};
    options.reconnect = std::chrono::seconds(options_.config.reconnect_seconds);
    if (auto left = left_gangs_.extract(number); !left.empty()) options.left_gang = std::move(left.mapped().folder);
    options.join_folder = store_.directory() / ("join-" + std::to_string(number));
    // Cores of this host say nothing of those that Slurm will choose.
    const std::uint32_t cores =
        options_.launcher.kind == cluster::LauncherKind::slurm ? 1 : std::max(1u, std::thread::hardware_concurrency());
    options.threads = job.job.threads > 0           ? job.job.threads
                      : options_.config.threads > 0 ? options_.config.threads
                                                    : std::max(1u, cores / queue_.limits.slots);
    const auto over = [this, number] {
      // Not from inside: the run is destroyed there.
      boost::asio::post(loop_, [this, number] { end_job(number, runs_.at(number)->ending()); });
    };
    if (run.begin(job, source, std::move(options), loop_, store_server_, store_, over)) return settle();
    end_job(number, run.ending());
  } catch (const Error& error) {
    if (store_.read_only_reason()) on_store_fault(error);
    end_job(number, {false, error.code(), error.what()});
  }
}

void Daemon::stop(JobNumber number, const std::string& reason) {
  if (const auto run = runs_.find(number); run != runs_.end()) run->second->stop(reason);
}

void Daemon::end_job(JobNumber number, const JobEnding& ending) {
  end_left_gang(number);  // of a job that did not come to take it over
  const auto run = runs_.find(number);
  if (run != runs_.end()) {
    const bool kept = !ending.done && queue_.jobs.at(number).state != JobState::cancelling;
    if (run->second->state() != nullptr && !kept) remove_scratch(*run->second->state());
    runs_.erase(run);
  }
  try {
    on_job_ended(queue_, *this, number, ending, unix_now_ms());
  } catch (const Error& error) {
    unrecorded_[number] = ending;
    on_store_fault(error);
  }
  settle();
  stop_if_over();
}

void Daemon::decide(const std::function<void()>& decision) {
  try {
    decision();
  } catch (const Error& error) {
    on_store_fault(error);
  }
  settle();
}

void Daemon::on_store_fault(const Error& error) {
  if (queue_.store_fault.empty()) std::cerr << "the store takes no writes: " << error.what() << "\n";
  queue_.store_fault = error.what();
}

void Daemon::settle() {
  try {
    start_jobs(queue_, *this, unix_now_ms());
  } catch (const Error& error) {
    on_store_fault(error);
  }
  if (changed_.empty()) return;
  const QueueSurvey queue = survey(queue_, unix_now_ms());
  for (const JobNumber number : std::exchange(changed_, {})) {
    const JobView shown = job_view(queue_, queue, queued_job(queue_, number), job_run(number));
    events_->publish("job", number, to_json(shown));
    std::cerr << "job " << number << " (" << shown.name << ", " << shown.user << ") " << to_string(shown.state)
              << (shown.reason.empty() ? "" : ": ") << shown.reason << "\n";
  }
}

void Daemon::schedule_tick() {
  tick_.expires_after(kTick);
  tick_.async_wait([this](const boost::system::error_code& cancelled) {
    if (cancelled) return;
    on_tick();
    schedule_tick();
  });
}

void Daemon::on_tick() {
  for (const auto& [number, run] : runs_) run->tell_reading();
  // A write of whoever met it, a submission or an upload, need not have been the queue's.
  if (const auto reason = store_.read_only_reason(); reason && queue_.store_fault.empty())
    return on_store_fault(Error(ErrorCode::failed, *reason));
  if (!queue_.store_fault.empty()) {
    try {
      if (store_.read_only_reason()) store_.reopen();
      queue_.store_fault.clear();
      std::cerr << "the store takes writes again\n";
    } catch (const Error& error) {
      queue_.store_fault = error.what();
      return;
    }
  }
  for (const auto& [number, ending] : std::exchange(unrecorded_, {})) end_job(number, ending);
  settle();
}

void Daemon::stop_if_over() {
  if (queue_.stopping && runs_.empty()) loop_.stop();
}

// --- What is shown --------------------------------------------------------------------------------

JobView Daemon::view(JobNumber number) const {
  return job_view(queue_, survey(queue_, unix_now_ms()), queued_job(queue_, number), job_run(number));
}

const JobRun* Daemon::job_run(JobNumber number) const {
  const auto run = runs_.find(number);
  return run == runs_.end() ? nullptr : run->second.get();
}

void Daemon::run_aside(std::function<std::function<void()>()> work) {
  ++aside_;
  boost::asio::post(pool_, [this, work = std::move(work)] {
    std::function<void()> then = work();
    boost::asio::post(loop_, std::move(then));
    --aside_;
  });
}

bool Daemon::nothing_aside(std::chrono::milliseconds deadline) const {
  const auto end = std::chrono::steady_clock::now() + deadline;
  while (aside_ > 0) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

}  // namespace quench::coordinator
