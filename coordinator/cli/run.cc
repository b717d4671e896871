#include <algorithm>
#include <boost/asio/signal_set.hpp>
#include <csignal>
#include <fstream>
#include <iostream>
#include <thread>

#include "cluster/launch/launcher_choice.h"
#include "cluster/launch/slurm_words.h"
#include "coordinator/calibration_sets.h"
#include "coordinator/cli/artifacts.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/progress.h"
#include "coordinator/job_opening.h"
#include "coordinator/job_report.h"
#include "coordinator/reactor.h"
#include "coordinator/report/files.h"
#include "coordinator/report/json.h"
#include "coordinator/report/study.h"
#include "coordinator/report/tables.h"
#include "coordinator/scoring/grade_files.h"
#include "coordinator/service.h"
#include "schemas/build_id.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

// What the launcher's choice changes about a run.
struct Placement {
  cluster::LauncherSettings launcher;
  std::optional<cluster::SlurmAllocation> allocation;  // that we run in, and use
  std::optional<std::uint32_t> ranks;                  // where the place says so; the command line's come first
  std::optional<std::uint32_t> threads;
};

Placement place(const RunArguments& arguments) {
  Placement placement;
  placement.launcher.kind = in_context("--launcher", [&] { return cluster::parse_launcher_kind(arguments.launcher); });
  placement.launcher.slurm_template = arguments.slurm_template;
  placement.launcher.hosts = arguments.hosts;
  // Where every host finds the store: secrets and scripts lie beside what they work on.
  placement.launcher.folder = fs::absolute(store_directory(arguments.store)) / "gangs";
  cluster::check_launcher(placement.launcher);
  if (placement.launcher.kind == cluster::LauncherKind::automatic && arguments.hosts.empty())
    placement.allocation = cluster::slurm_allocation();
  if (placement.allocation) {
    placement.ranks = placement.allocation->ranks;
    placement.threads = placement.allocation->threads;
  }
  for (const std::string& host : arguments.hosts) {
    const std::size_t colon = host.find(':');
    placement.ranks = placement.ranks.value_or(0) +
                      (colon == std::string::npos ? 1u : static_cast<std::uint32_t>(std::stoul(host.substr(colon + 1))));
  }
  // Cores of this host say nothing of those that Slurm will choose.
  if (placement.launcher.kind == cluster::LauncherKind::slurm) placement.threads = 1;
  return placement;
}

// Beyond this host what is said must be encrypted, or be asked for in the clear. An allocation is an exception: MPI sends
// everything in the clear between its nodes anyway.
std::optional<cluster::Endpoint> listen_endpoint(const RunArguments& arguments, const Placement& placement) {
  const bool elsewhere = placement.launcher.kind == cluster::LauncherKind::slurm || !placement.launcher.hosts.empty();
  if (arguments.listen.empty() && elsewhere)
    throw Error(ErrorCode::bad_input,
                std::string(placement.launcher.hosts.empty() ? "--launcher slurm" : "--hosts") +
                    " starts ranks on other hosts, which must reach this one: add --listen ADDRESS:PORT (0.0.0.0:0 for "
                    "any free port of all addresses) and --tls-certificate with --tls-key or, on a network that you trust, --plain-network");
  if (arguments.listen.empty() && placement.allocation && placement.allocation->nodes > 1)
    return cluster::Endpoint{.host = "0.0.0.0", .path = {}};
  if (arguments.listen.empty()) return std::nullopt;
  cluster::Endpoint endpoint = in_context("--listen", [&] { return cluster::Endpoint::parse_listen(arguments.listen); });
  if (!endpoint.is_loopback() && !arguments.plain_network && arguments.tls_certificate.empty())
    throw Error(ErrorCode::bad_input,
                "--listen " + arguments.listen +
                    " is reachable from other hosts, and this connection is not encrypted (joining takes the "
                    "secret all the same): give --tls-certificate and --tls-key, add --plain-network on a network that you trust, or listen on "
                    "127.0.0.1 and let workers come through an ssh tunnel");
  return endpoint;
}

// Until it is finished or failed, or a signal stops it; the outcome is in the state.
void run_alone(ServiceOptions options, ArtifactStore& store, State& state, ProgressSink& progress) {
  cluster::Loop loop;
  StoreServer server(loop, store, kBuildId, answer_store_command);
  Service service(std::move(options), loop, server, store, state, progress, [&loop] { loop.stop(); });
  boost::asio::signal_set signals(loop, SIGINT, SIGTERM);
  signals.async_wait([&](const boost::system::error_code& cancelled, int) {
    if (!cancelled) service.stop("stopped by a signal");
  });
  service.start();
  loop.run();
}

}  // namespace

JobSpec read_job_for(const fs::path& file, std::optional<std::uint32_t> ranks) {
  JobSpec job = read_job(file);
  if (ranks) job.ranks = *ranks;
  if (job.ranks < 1 || job.ranks > 4096)
    throw Error(ErrorCode::bad_input, "--ranks " + std::to_string(job.ranks) + ": expected 1 to 4096");
  return job;
}

std::uint32_t threads_per_rank(const JobSpec& job, std::optional<std::uint32_t> threads) {
  if (threads) return *threads;
  if (job.threads > 0) return job.threads;
  const std::uint32_t cores = std::max(1u, std::thread::hardware_concurrency());
  return std::max<std::uint32_t>(1, cores / job.ranks);
}

int run_job(const RunArguments& arguments) {
  const Placement placement = place(arguments);
  const JobSpec asked = read_job_for(arguments.job, arguments.ranks ? arguments.ranks : placement.ranks);
  const std::optional<cluster::Endpoint> listen = listen_endpoint(arguments, placement);
  const JobSource source = read_job_source(asked);
  const fs::path worker = worker_program();
  ArtifactStore store = ArtifactStore::open(store_directory(arguments.store), OpenMode::create);
  const JobSpec job = with_calibration_set(store, asked);
  State state = open_or_accept(store, job, source);

  if (is_complete(state)) {
    std::cerr << job.name << ": done before, nothing to run\n";
  } else {
    TerminalProgress progress(log_file(store, state.job_id));
    // Of an allocation as many as it gives a rank, unless there are to be other ranks than it has.
    std::optional<std::uint32_t> threads = arguments.threads;
    if (!threads && job.threads == 0 && (!placement.allocation || job.ranks == placement.allocation->ranks))
      threads = placement.threads;
    if (placement.allocation)
      progress.line("on Slurm job " + placement.allocation->job_id + ": " + std::to_string(job.ranks) + " ranks on " +
                    placement.allocation->node_list);
    ServiceOptions options;
    options.worker = worker;
    options.threads = threads_per_rank(job, threads);
    options.build = kBuildId;
    options.listen = listen;
    if (!arguments.tls_certificate.empty()) options.tls = cluster::TlsFiles{arguments.tls_certificate, arguments.tls_key};
    options.launcher = placement.launcher;
    options.join_folder = store.directory() / "join";
    // A service that held this store may have left one.
    if (!state.left_gang.empty()) options.left_gang = cluster::GangFolder::take(state.left_gang);
    run_alone(std::move(options), store, state, progress);
    if (state.failure) throw Error(state.failure->code, state.failure->message).with_context(job.name);
    remove_scratch(state);
  }

  const JobReport report = report_job(store, state);
  if (arguments.report) write_report_files(report, *arguments.report);
  if (arguments.json) {
    std::cout << report_to_json(report) << "\n";
  } else {
    std::cout << "\n" << report_to_summary(report);
    if (arguments.report) std::cout << "\n  " << (*arguments.report / "index.html").string() << "\n";
  }
  return 0;
}

int write_report(const ReportArguments& arguments) {
  const ArtifactStore store = ArtifactStore::open(store_directory(arguments.store), OpenMode::existing);
  JobReport report = report_refs(store, arguments.refs, arguments.ks);
  if (arguments.carbon_intensity)
    report.carbon = {*arguments.carbon_intensity,
                     arguments.carbon_source.empty() ? "given on the command line" : arguments.carbon_source};
  if (!arguments.protocol.empty()) {
    if (arguments.protocol != kStudyProtocol)
      throw Error(ErrorCode::bad_input,
                  "--protocol " + arguments.protocol + ": expected " + std::string(kStudyProtocol));
    report.protocol = arguments.protocol;
  }
  if (arguments.out) write_report_files(report, *arguments.out, arguments.formats);
  std::cout << (arguments.json ? report_to_json(report) + "\n" : report_to_text(report));
  return 0;
}

int compare(const CompareArguments& arguments) {
  std::vector<ArtifactScore> subjects;
  const bool files = std::all_of(arguments.subjects.begin(), arguments.subjects.end(),
                                 [](const std::string& subject) { return fs::is_regular_file(subject); });
  const auto a_file = std::find_if(arguments.subjects.begin(), arguments.subjects.end(),
                                   [](const std::string& subject) { return fs::is_regular_file(subject); });
  if (!files && a_file != arguments.subjects.end())
    throw Error(ErrorCode::bad_input, *a_file +
                                          " is a file and others are not: compare either files of `quench "
                                          "grade` or artifacts of a store");
  if (files) {
    subjects = read_grade_files(arguments.subjects, arguments.ks);
  } else {
    const ArtifactStore store = ArtifactStore::open(store_directory(arguments.store), OpenMode::existing);
    subjects = report_refs(store, arguments.subjects, arguments.ks).artifacts;
  }
  const std::vector<Comparison> comparisons = compare_all(subjects);
  if (comparisons.empty())
    throw Error(ErrorCode::bad_input,
                "nothing to compare: these artifacts have no evaluation of one benchmark and language");
  std::cout << (arguments.json ? comparisons_to_json(comparisons) + "\n"
                               : comparisons_to_text(subjects, comparisons));
  return 0;
}

}  // namespace quench::coordinator
