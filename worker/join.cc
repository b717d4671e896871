#include "worker/join.h"

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <thread>

#include "cluster/net/endpoint.h"
#include "schemas/error.h"
#include "worker/build.h"
#include "worker/evaluator.h"
#include "worker/status_reports.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kEndAfterLoss{5'000};
constexpr std::chrono::milliseconds kTryEvery{500};
constexpr std::size_t kFileBytesMax = 4096;
// What launchers call the secret's file.
constexpr char kGangSecretVariable[] = "QUENCH_GANG_SECRET_FILE";

// The files of a coordinator that is not there yet, or was here, are missing: that is worth waiting for.
std::string read_small(const fs::path& file, const char* what) {
  std::ifstream in(file, std::ios::binary);
  std::string text;
  if (in) text.assign(std::istreambuf_iterator<char>(in), {});
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  if (text.empty() || text.size() > kFileBytesMax)
    throw Error(ErrorCode::unreachable, "no " + std::string(what) + " in " + file.string() +
                                            ": is `quench run` running on that store?");
  return text;
}

fs::path secret_file(const JoinArguments& arguments) {
  if (!arguments.secret_file.empty()) return arguments.secret_file;
  // A launcher gives its own.
  const char* const variable = arguments.numbered ? kGangSecretVariable : kJoinSecretVariable;
  if (const char* named = std::getenv(variable); named != nullptr && *named != '\0') return named;
  if (!arguments.folder.empty()) return arguments.folder / "secret";
  throw Error(ErrorCode::bad_input,
              std::string("no secret: name the folder join of the store with --join, or a copy of the file "
                          "secret in it with --secret-file or ") +
                  kJoinSecretVariable);
}

// HOST:PORT alone is encrypted where there is a certificate to know the coordinator by.
cluster::Endpoint coordinator(const JoinArguments& arguments, const fs::path& certificate) {
  if (arguments.coordinator.empty() && arguments.folder.empty())
    throw Error(ErrorCode::bad_input, "no coordinator: give --join STORE/join or --coordinator HOST:PORT");
  const std::string text = arguments.coordinator.empty() ? read_small(arguments.folder / "endpoint", "endpoint")
                                                         : arguments.coordinator;
  const bool bare = text.find("://") == std::string::npos;
  return cluster::Endpoint::parse(bare ? (fs::exists(certificate) ? "tls://" : "tcp://") + text : text);
}

void evaluate_once(kernels::Backend& backend, const JoinArguments& arguments) {
  ServiceOptions options;
  const fs::path secret = secret_file(arguments);
  options.secret = read_small(secret, "secret");
  options.certificate = arguments.certificate.empty() ? secret.parent_path() / "certificate" : arguments.certificate;
  options.coordinator = coordinator(arguments, options.certificate);
  options.hello = describe_self(std::string(backend.name()), PeerRole::evaluator);
  options.hello.rank = arguments.slot ? RankId{*arguments.slot, *arguments.slot + 1} : RankId{0, 0};
  if (arguments.wait_seconds == 0) options.exit_after_loss = kEndAfterLoss;
  Service service(options, nullptr);
  try {
    const StatusReports reports(service);
    Evaluator(backend, service, {arguments.cache_dir, arguments.slot.has_value()}).run();
  } catch (const Error& error) {
    service.report_failure(error);
    throw;
  }
}

// What another coordinator, or the same one later, may mend.
bool worth_waiting(const Error& error) {
  switch (error.code()) {
    case ErrorCode::unreachable:
    case ErrorCode::interrupted:
    case ErrorCode::timed_out:
    case ErrorCode::refused:  // a new run has a new secret
      return true;
    default:
      return false;
  }
}

}  // namespace

std::uint32_t task_number() {
  for (const char* const name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID"}) {
    const char* const text = std::getenv(name);
    if (text == nullptr) continue;
    std::uint32_t number = 0;
    const char* const end = text + std::strlen(text);
    if (const auto parsed = std::from_chars(text, end, number); parsed.ec == std::errc() && parsed.ptr == end)
      return number;
  }
  throw Error(ErrorCode::bad_input, "no number among tasks (OMPI_COMM_WORLD_RANK, PMIX_RANK, SLURM_PROCID): --numbered is "
                                    "for workers that srun or mpirun starts");
}

int join_evaluation(const ComputeOptions& compute, const JoinArguments& arguments) {
  const std::unique_ptr<kernels::Backend> backend = make_backend(compute.threads, compute.backend);
  std::string told;
  for (auto deadline = Clock::now() + std::chrono::seconds(arguments.wait_seconds);;) {
    const auto began = Clock::now();
    try {
      evaluate_once(*backend, arguments);
      return 0;
    } catch (const Error& error) {
      if (!worth_waiting(error)) throw;
      // Time spent at work is not time waited.
      deadline += Clock::now() - began;
      if (Clock::now() + kTryEvery > deadline) throw;
      if (told != error.what()) std::cerr << "quench-worker: waiting: " + std::string(error.what()) + "\n";
      told = error.what();
    }
    std::this_thread::sleep_for(kTryEvery);
  }
}

}  // namespace quench::worker
