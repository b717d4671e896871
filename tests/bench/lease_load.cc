// Evaluation workers that answer at once, so that what leases cost their coordinator can be measured: real connections and
// messages, no model and no sandbox. They take leases of one item until the evaluation has none left.
//   lease_load JOIN_FOLDER WORKERS
// prints {"leases": N, "seconds": S}. service_load.py --leases runs it beside a service.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cluster/net/handshake.h"
#include "schemas/build_id.h"
#include "schemas/error.h"
#include "worker/evaluate/problems.h"

namespace quench {
namespace {

using Clock = std::chrono::steady_clock;

std::string text_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  while (!text.empty() && text.back() == '\n') text.pop_back();
  if (text.empty()) throw Error(ErrorCode::bad_input, "nothing in " + file.string() + ": is the job evaluating?");
  return text;
}

class FakeWorker {
 public:
  FakeWorker(cluster::Loop& loop, const std::filesystem::path& join, const BenchmarkInfo& problems) : problems_(problems) {
    Hello hello;
    hello.build = kBuildId;
    hello.role = PeerRole::evaluator;
    hello.rank = {0, 0};
    hello.host = "load";
    cluster::DialOptions options;
    options.secret = text_of(join / "secret");
    connection_ = cluster::dial(loop, cluster::Endpoint::parse("tcp://" + endpoint_in(join)), hello, options).connection;
    cluster::ConnectionHandlers handlers;
    handlers.on_message = [this](Message message, Bytes) { on_message(message); };
    handlers.on_closed = [this](const Error&) { over_ = true; };
    connection_->set_handlers(std::move(handlers));
  }
  std::uint64_t leases() const { return leases_; }
  bool over() const { return over_; }

 private:
  static std::string endpoint_in(const std::filesystem::path& join) {
    const std::string text = text_of(join / "endpoint");
    const std::size_t scheme = text.find("://");
    return scheme == std::string::npos ? text : text.substr(scheme + 3);
  }
  void on_message(const Message& message) {
    if (const auto* order = std::get_if<EvaluateOrder>(&message)) {
      order_ = *order;
      BenchmarkInfo info = problems_;
      info.number = order->number;
      connection_->send(info);
      connection_->send(LeaseRequest{1, order->number, {}, {}});
    } else if (const auto* grant = std::get_if<LeaseGrant>(&message)) {
      if (grant->items.empty()) {
        connection_->send(UsageDone{0, order_.evaluation, order_.artifact, {}});
        return;
      }
      ++leases_;
      VerdictsDone done{grant->lease, {}, order_.number};
      LeaseRequest next{1, order_.number, grant->lease, {}};
      for (const LeaseItem& item : grant->items) {
        Verdict& verdict = done.verdicts.emplace_back();
        verdict.task = item.task;
        verdict.sample = item.sample;
        verdict.result = item.sample % 2 == 0 ? VerdictResult::passed : VerdictResult::failed;
        // As long as answers of such benchmarks are.
        verdict.completion = "    return " + std::string(160, 'a') + std::to_string(item.task + item.sample) + "\n";
        verdict.tokens = 60;
        next.made.push_back({item.task, item.sample, verdict.completion, verdict.tokens});
      }
      // A worker asks for the next lease before it executes this one.
      connection_->send(next);
      connection_->send(done);
    } else if (std::holds_alternative<ExitOrder>(message)) {
      over_ = true;
    }
  }

  const BenchmarkInfo& problems_;
  EvaluateOrder order_;
  std::unique_ptr<cluster::Connection> connection_;
  std::uint64_t leases_ = 0;
  bool over_ = false;
};

int lease_load(const std::filesystem::path& join, int count) {
  const worker::ProblemSet problems = worker::shipped_problems(worker::Benchmark::humaneval);
  BenchmarkInfo info;
  info.digest = problems.digest();
  for (const worker::Problem& problem : problems.problems()) info.task_ids.push_back(problem.task_id);
  cluster::Loop loop;
  std::vector<std::unique_ptr<FakeWorker>> workers;
  for (int i = 0; i < count; ++i) workers.push_back(std::make_unique<FakeWorker>(loop, join, info));
  const auto began = Clock::now();
  loop.restart();
  const auto all_over = [&] {
    for (const auto& worker : workers)
      if (!worker->over()) return false;
    return true;
  };
  while (!all_over() && loop.run_one() > 0) {
  }
  std::uint64_t leases = 0;
  for (const auto& worker : workers) leases += worker->leases();
  std::printf("{\"leases\": %llu, \"seconds\": %.2f}\n", static_cast<unsigned long long>(leases),
              std::chrono::duration<double>(Clock::now() - began).count());
  return 0;
}

}  // namespace
}  // namespace quench

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: lease_load JOIN_FOLDER WORKERS\n");
    return 2;
  }
  try {
    return quench::lease_load(argv[1], std::atoi(argv[2]));
  } catch (const quench::Error& error) {
    std::fprintf(stderr, "lease_load: %s\n", error.what());
    return quench::exit_code(error.code());
  }
}
