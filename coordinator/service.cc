#include "coordinator/service.h"

#include <openssl/rand.h>

#include <boost/asio/ip/host_name.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "cluster/launch/gang_script.h"
#include "coordinator/clock.h"
#include "coordinator/fan_out.h"
#include "coordinator/reactor.h"
#include "coordinator/records.h"
#include "coordinator/repository/publication.h"
#include "coordinator/routes.h"
#include "schemas/codec.h"

namespace quench::coordinator {
namespace {

constexpr std::chrono::milliseconds kTick{250};
// Ranks end at once on SIGTERM; what is still there after this is killed.
constexpr std::chrono::milliseconds kStopGrace{3'000};
constexpr std::size_t kSecretBytes = 32;
// In the environment of evaluation workers that we start.
constexpr char kJoinSecretVariable[] = "QUENCH_JOIN_SECRET_FILE";

TimeMs steady_now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// What ranks and evaluation workers of this environment want of a batch system.
std::uint32_t gpus_of_each() {
  const char* const backend = std::getenv("QUENCH_BACKEND");
  return backend != nullptr && std::string_view(backend).starts_with("cuda") ? 1 : 0;
}

std::string make_secret() {
  Digest random;
  QUENCH_CHECK(RAND_bytes(random.bytes.data(), kSecretBytes) == 1);
  return random.hex();
}

// All addresses of this host are none to dial.
std::string dialled(cluster::Endpoint endpoint, bool encrypted) {
  endpoint.encrypted = encrypted;
  if (endpoint.host == "0.0.0.0" || endpoint.host == "::") endpoint.host = boost::asio::ip::host_name();
  return endpoint.to_string();
}

}  // namespace

Service::Service(ServiceOptions options, cluster::Loop& loop, StoreServer& store_server, ArtifactStore& store,
                 State& state, ProgressSink& sink, std::function<void()> on_over)
    : options_(std::move(options)),
      tls_(options_.tls ? cluster::server_tls(*options_.tls) : nullptr),
      certificate_(options_.tls ? cluster::own_certificate(*options_.tls) : std::string()),
      store_(store),
      state_(state),
      ranks_wished_(state.job.ranks),
      sink_(sink),
      on_over_(std::move(on_over)),
      loop_(loop),
      hash_pool_(2),
      store_server_(store_server),
      reception_(
          loop_, roster_,
          [this] {
            cluster::ReceptionOptions reception;
            reception.build = options_.build;
            reception.connection.hash_pool = &hash_pool_;
            return reception;
          }(),
          [this](std::unique_ptr<cluster::Connection> connection, Hello hello, cluster::Transport) {
            admit(std::move(connection), hello);
          },
          [this](const Error& reason) { tell(std::string("turned a peer away: ") + reason.what()); }),
      listener_(cluster::Listener::tcp(loop_, "127.0.0.1", 0,
                                       [this](cluster::Socket socket, cluster::Transport transport) {
                                         reception_.greet(std::move(socket), transport);
                                       })),
      join_listener_(join_listener()),
      join_secret_(make_secret()),
      join_folder_(options_.join_folder, dialled((join_listener_ ? *join_listener_ : listener_).endpoint(), join_listener_ && tls_),
                   join_secret_, join_listener_ ? certificate_ : std::string()),
      launcher_(cluster::make_launcher(loop_, options_.launcher)),
      tick_(loop_),
      verdicts_(store_) {
  roster_.expect_evaluators(join_secret_);
}

Service::~Service() { hash_pool_.join(); }

std::optional<cluster::Listener> Service::join_listener() {
  if (!options_.listen) return std::nullopt;
  return cluster::Listener::tcp(loop_, options_.listen->host, options_.listen->port,
                                [this](cluster::Socket socket, cluster::Transport transport) {
                                  reception_.greet(std::move(socket), transport, tls_);
                                });
}

void Service::start() {
  state_.now = steady_now_ms();
  if (join_listener_)
    tell("evaluation workers may join: quench-worker evaluate --join " +
         std::filesystem::absolute(join_folder_.path()).string() + "  (" +
         dialled(join_listener_->endpoint(), tls_ != nullptr) + ")");
  on_start(state_, *this);
  schedule_tick();
}

void Service::stop(const std::string& reason) {
  decide([&] { on_stop_requested(state_, *this, reason); });
}

void Service::decide(const std::function<void()>& decision) {
  try {
    decision();
  } catch (const Error& error) {
    if (!state_.failure) state_.failure = JobFailure{error.code(), error.what()};
    state_.phase = Phase::failed;
    stop_gang(error.what());
    stop_evaluators(error.what());
  }
  end_if_over();
}

void Service::end_if_over() {
  if (gang_ != nullptr || !evaluators_.empty() || workers_ != nullptr) return;
  if (state_.phase != Phase::finished && state_.phase != Phase::failed) return;
  if (on_over_) std::exchange(on_over_, {})();
}

void Service::schedule_tick() {
  tick_.expires_after(kTick);
  tick_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& cancelled) {
    if (cancelled || alive.expired()) return;
    ended_gang_.reset();
    ended_workers_.reset();
    if (!awaited_slots_.empty() && workers_ == nullptr) decide([this] { start_workers(); });
    ended_evaluators_.clear();
    decide([this] { on_tick(state_, *this, steady_now_ms()); });
    schedule_tick();
  });
}

void Service::admit(std::unique_ptr<cluster::Connection> connection, const Hello& hello) {
  const ConnectionId id = next_connection_++;
  cluster::ConnectionHandlers handlers;
  handlers.on_message = [this, id](Message message, Bytes payload) { on_message(id, message, payload); };
  handlers.on_closed = [this, id](const Error& reason) {
    const std::string text = reason.what();
    decide([&] {
      on_rank_lost(state_, *this, id, text);
      on_evaluator_lost(state_, *this, id, text);
    });
    peers_.erase(id);
  };
  connection->set_handlers(std::move(handlers));
  peers_[id] = Peer{std::move(connection), hello.role, 0};
  decide([&] {
    if (hello.role == PeerRole::evaluator) {
      on_evaluator_joined(state_, *this, id, hello);
    } else {
      on_rank_joined(state_, *this, id, hello);
    }
  });
}

void Service::on_message(ConnectionId id, const Message& message, const Bytes& payload) {
  Peer& peer = peers_.at(id);
  // What is not for this peer to say is left to the reactors, which take no part of it.
  const bool taken = may_send(peer.role, message);
  if (taken && store_server_.answer(*peer.connection, message)) return;
  if (peer.role == PeerRole::evaluator) {
    decide([&] { on_evaluator_message(state_, *this, id, message); });
    return;
  }
  if (const auto* chunk = std::get_if<ChunkPut>(&message); chunk != nullptr && taken) {
    decide([&] {
      store_.put_chunk(chunk->digest, payload);
      peer.connection->send(ChunkStored{++peer.chunks_stored});
    });
    return;
  }
  if (const auto* progress = std::get_if<Progress>(&message); progress != nullptr && taken) {
    sink_.step("block " + std::to_string(progress->block) + " " + progress->step);
    return;
  }
  const bool failed_before = state_.phase == Phase::failed;
  decide([&] { on_rank_message(state_, *this, id, message); });
  const auto* block = std::get_if<BlockDone>(&message);
  if (block != nullptr && !failed_before && state_.phase != Phase::failed)
    sink_.block(state_.artifacts.at(block->artifact).recipe.name, *block);
}

void Service::on_gang_ended(const cluster::GangExit& exit) {
  ended_gang_ = std::move(gang_);
  roster_.dismiss();
  std::erase_if(peers_, [](const auto& entry) { return entry.second.role == PeerRole::rank; });
  const std::string reason = exit.ok() ? std::string() : exit.describe();
  if (!exit.ok())
    for (const std::string& line : exit.last_lines) sink_.detail(line);
  decide([&] { on_gang_exited(state_, *this, reason, exit.end); });
}

std::string Service::endpoint_for_ours() const {
  if (!launcher_->other_hosts() || !join_listener_) return listener_.endpoint().to_string();
  return dialled(join_listener_->endpoint(), tls_ != nullptr);
}

cluster::GangHandlers Service::gang_handlers(const std::string& who,
                                             std::function<void(const cluster::GangExit&)> on_exit) {
  cluster::GangHandlers handlers;
  handlers.on_line = [this, who](std::optional<std::uint32_t> rank, const std::string& line) {
    sink_.detail(rank ? who + std::to_string(*rank) + ": " + line : line);
  };
  handlers.on_waiting = [this](const std::string& reason) {
    decide([&] { on_gang_waiting(state_, *this, reason); });
  };
  handlers.on_running = [this](const std::string& where) {
    decide([&] { on_gang_running(state_, *this, where); });
  };
  handlers.on_exit = std::move(on_exit);
  return handlers;
}

void Service::send(ConnectionId to, const Message& message) {
  if (const auto peer = peers_.find(to); peer != peers_.end()) peer->second.connection->send(message);
}

void Service::start_gang(AttemptNumber attempt) {
  cluster::GangCommand command;
  command.program = options_.worker;
  command.arguments = {"--threads",
                       std::to_string(options_.threads),
                       "gang",
                       "--coordinator",
                       endpoint_for_ours(),
                       "--attempt",
                       std::to_string(attempt.value)};
  if (options_.reconnect.count() > 0) {
    command.outlives = true;
    command.arguments.insert(command.arguments.end(), {"--reconnect-seconds", std::to_string(options_.reconnect.count())});
  }
  command.secret = make_secret();
  command.certificate = certificate_;
  command.ranks = ranks_wished_;
  command.threads = options_.threads;
  command.gpus = gpus_of_each();
  roster_.expect(attempt, launcher_->elastic() ? 0 : ranks_wished_, command.secret);
  gang_ = launcher_->start(
      command, gang_handlers("rank ", [this](const cluster::GangExit& exit) { on_gang_ended(exit); }));
  if (!gang_->folder().empty()) record(GangStarted{attempt.value, gang_->folder().string()}, {});
}

bool Service::adopt_gang() {
  if (options_.left_gang == nullptr) return false;
  const std::filesystem::path folder = options_.left_gang->path();
  const std::string secret = options_.left_gang->read_secret();
  if (secret.empty()) return false;
  gang_ = launcher_->adopt(std::move(options_.left_gang),
                           gang_handlers("rank ", [this](const cluster::GangExit& exit) { on_gang_ended(exit); }));
  if (gang_ == nullptr) return false;
  roster_.expect(state_.attempt, launcher_->elastic() ? 0 : ranks_wished_, secret);
  if (!certificate_.empty()) cluster::write_private_file(folder / cluster::kCertificateFile, certificate_);
  // From here on its ranks find us.
  cluster::write_private_file(folder / cluster::kEndpointFile, endpoint_for_ours() + "\n");
  return true;
}

void Service::stop_gang(const std::string& reason) {
  sink_.detail("stopping the gang: " + reason);
  if (gang_ != nullptr) gang_->stop(kStopGrace);
}

// On the tick, when all slots that are to be started are known.
void Service::start_workers() {
  cluster::GangCommand command;
  command.kind = cluster::GangKind::workers;
  command.program = options_.worker;
  command.arguments = {"--threads", std::to_string(options_.threads), "evaluate", "--coordinator",
                       endpoint_for_ours(), "--numbered"};
  command.secret = join_secret_;
  command.certificate = certificate_;
  command.ranks = ranks_wished_;
  command.threads = options_.threads;
  command.gpus = gpus_of_each();
  worker_slots_ = std::exchange(awaited_slots_, {});
  workers_ = launcher_->start(command, gang_handlers("evaluation worker ", [this](const cluster::GangExit& exit) {
                                on_workers_ended(exit);
                              }));
}

void Service::on_workers_ended(const cluster::GangExit& exit) {
  ended_workers_ = std::move(workers_);
  if (!exit.ok())
    for (const std::string& line : exit.last_lines) sink_.detail(line);
  for (const std::uint32_t slot : std::exchange(worker_slots_, {}))
    decide([&] { on_evaluator_exited(state_, *this, slot, exit.describe(), exit.end); });
}

void Service::start_evaluator(std::uint32_t slot) {
  if (launcher_->other_hosts()) {
    awaited_slots_.insert(slot);
    return;
  }
  cluster::ChildCommand command;
  command.program = options_.worker;
  command.arguments = {"--threads",
                       std::to_string(options_.threads),
                       "evaluate",
                       "--coordinator",
                       listener_.endpoint().to_string(),
                       "--slot",
                       std::to_string(slot)};
  command.environment[kJoinSecretVariable] = join_folder_.secret_file().string();
  command.out = cluster::ChildStream::lines;
  command.err = cluster::ChildStream::lines;
  command.group = cluster::ChildGroup::own;
  cluster::ChildHandlers handlers;
  handlers.on_line = [this, slot](cluster::ChildHandlers::Source, const std::string& line) {
    sink_.detail("evaluation worker " + std::to_string(slot) + ": " + line);
  };
  handlers.on_exit = [this, slot](const cluster::ChildExit& exit) { on_evaluator_ended(slot, exit); };
  evaluators_[slot] = std::make_unique<cluster::ChildProcess>(loop_, command, std::move(handlers));
}

void Service::on_evaluator_ended(std::uint32_t slot, const cluster::ChildExit& exit) {
  ended_evaluators_.push_back(std::move(evaluators_.at(slot)));
  evaluators_.erase(slot);
  decide([&] { on_evaluator_exited(state_, *this, slot, exit.describe()); });
}

void Service::stop_evaluators(const std::string& reason) {
  // Slots that were never started have ended already.
  for (const std::uint32_t slot : std::exchange(awaited_slots_, {}))
    on_evaluator_exited(state_, *this, slot, reason, cluster::GangEnd::stopped);
  if (workers_ != nullptr) workers_->stop(kStopGrace);
  if (evaluators_.empty()) return;
  sink_.detail("stopping the evaluation workers: " + reason);
  for (const auto& [slot, process] : evaluators_) process->stop(kStopGrace);
}

void Service::write(const Commit& commit) {
  verdicts_.commit();
  store_.commit(commit);
}

void Service::record(const quench::JournalEvent& event, const std::vector<Digest>& chunks) {
  quench::JournalEvent dated = event;
  // The reactor knows no wall clock.
  if (auto* started = std::get_if<AttemptStarted>(&dated)) started->unix_ms = unix_now_ms();
  Commit commit;
  commit.append_journal(journal_name(state_.job_id), encode(dated), chunks);
  write(commit);
}

Digest Service::publish(const std::string& name, const Manifest& manifest, const RunRecord& run,
                        std::uint32_t artifact) {
  RunRecord record = run;
  record.finished_unix_ms = unix_now_ms();
  Commit commit;
  const Digest digest =
      add_published(commit, name, manifest, encode(manifest), static_cast<std::uint64_t>(record.finished_unix_ms));
  record.artifact = digest;
  commit.put_result("run/" + digest.hex() + "/" + state_.job_id.hex(), encode(record));
  commit.append_journal(
      journal_name(state_.job_id),
      encode(quench::JournalEvent(ArtifactPublished{artifact, digest, run.quantize_seconds})));
  write(commit);
  return digest;
}

std::vector<Verdict> Service::keep_verdicts(const Digest& evaluation, const std::vector<Verdict>& verdicts) {
  const bool first = verdicts_.empty();
  std::vector<Verdict> contradicting = verdicts_.add(evaluation, verdicts);
  // Behind the messages that have arrived by now.
  if (first && !verdicts_.empty())
    boost::asio::post(loop_, [this, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) decide([this] { verdicts_.commit(); });
    });
  return contradicting;
}

void Service::keep_usage(std::uint32_t artifact, std::uint32_t evaluation, const PhaseUsage& usage) {
  Commit commit;
  put_usage(commit, state_.job_id, artifact, evaluation, usage);
  write(commit);
}

std::set<LeaseTable::Item> Service::kept_verdicts(const Digest& evaluation) {
  verdicts_.commit();
  return kept_items(store_, evaluation);
}

void Service::tell(const std::string& line) { sink_.line(line); }

void Service::show_progress(const std::string& what, std::uint32_t done, std::uint32_t total) {
  sink_.progress(what, done, total);
}

}  // namespace quench::coordinator
