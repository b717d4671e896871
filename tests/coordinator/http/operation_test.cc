// What whoever runs a service relies on: the audit log has every change, the metrics are OpenMetrics and move, a service that
// cannot take jobs says so, and nobody publishes more than his share.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <sstream>

#include "coordinator/clock.h"
#include "coordinator/trust/base64.h"
#include "schemas/codec.h"
#include "tests/coordinator/http/service_fixture.h"
#include "tests/support/script_file.h"
#include "tests/support/waiting.h"

namespace quench::coordinator {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kModel[] = QUENCH_SOURCE_DIR "/tests/fixtures/stories260k";

template <typename Condition>
bool comes_true(Condition condition) {
  return quench::testing::wait_for(condition, std::chrono::seconds(20));
}

// A service on which alice, with a token, submits and publishes.
class Operation : public ::testing::Test {
 protected:
  void serve(const ServeConfig& config = {}, const std::filesystem::path& worker = "/nonexistent/quench-worker") {
    service_ = std::make_unique<RunningService>(config, HttpLimits{}, worker);
    token_ = service_->on_loop([](Daemon& daemon) { return daemon.create_token({"alice", {"read", "submit", "publish"}, 1}, "root"); });
  }
  HttpAnswer ask(const std::string& method, const std::string& target, const std::string& body = {}) {
    return http_request(service_->tcp(token_.secret), method, target, body);
  }
  HttpAnswer submit(const std::string& query = {}) {
    return ask("POST", "/v1/jobs" + query, json{{"name", "job"}, {"model", kModel}, {"quantize", {{{"method", "int8"}}}}}.dump());
  }
  std::string state_of(int job) { return json::parse(ask("GET", "/v1/jobs/" + std::to_string(job)).body)["job"].value("state", ""); }
  // Uploads a manifest with one tensor of `size` bytes and publishes it under that name.
  HttpAnswer publish(const std::string& name, std::size_t size) {
    const std::string chunk(size, name[0]);
    EXPECT_EQ(ask("PUT", "/v1/store/chunks/" + sha256(chunk).hex(), chunk).status, 200u);
    TensorRecord tensor;
    tensor.name = name;
    tensor.chunks = {{sha256(chunk), size}};
    Manifest manifest;
    manifest.source = sha256("source");
    manifest.tensors = {tensor};
    const Bytes bytes = encode(manifest);
    published_ = sha256(bytes);
    return ask("POST", "/v1/store/publishes",
               json{{"objects", {{{"bytes", to_base64(as_text(bytes))}}}}, {"records", json::array()}, {"names", {{{"name", name}, {"digest", published_.hex()}}}}}.dump());
  }

  std::unique_ptr<RunningService> service_;
  NewToken token_;
  Digest published_;
};

TEST_F(Operation, TheAuditLogHasEveryChange) {
  const std::int64_t before = unix_now_ms();
  serve();  // its worker program does not exist: jobs fail
  ASSERT_EQ(submit().status, 201u);
  ASSERT_TRUE(comes_true([&] { return state_of(1) == "failed"; }));
  ASSERT_EQ(ask("POST", "/v1/jobs/1/retry").status, 200u);
  ASSERT_TRUE(comes_true([&] { return state_of(1) == "failed"; }));
  ASSERT_EQ(publish("lab/one", 100).status, 200u);
  ASSERT_EQ(ask("PUT", "/v1/names/lab%2Fother", json{{"artifact", published_.hex()}}.dump()).status, 200u);
  ASSERT_EQ(http_request(service_->local(), "DELETE", "/v1/tokens/" + token_.changed.id).status, 200u);
  // What is refused changes nothing.
  EXPECT_EQ(submit().status, 401u);
  EXPECT_EQ(http_request(service_->local(), "POST", "/v1/jobs/1/cancel").status, 409u);
  const json log = json::parse(http_request(service_->local(), "GET", "/v1/audit").body)["entries"];
  std::vector<std::string> changes;
  const std::string me = json::parse(http_request(service_->local(), "GET", "/v1/whoami").body).value("user", "");
  for (const json& entry : log) {
    changes.push_back(entry.value("by", "") + ": " + entry.value("change", "") + " " + entry.value("subject", ""));
    EXPECT_GE(entry.value("unix_ms", std::int64_t{0}), before) << entry;
    EXPECT_LE(entry.value("unix_ms", std::int64_t{0}), unix_now_ms()) << entry;
  }
  const std::vector<std::string> once = {"service: job running 1", "service: job running 1", "service: job failed 1"};
  std::vector<std::string> expected = {"root: token created " + token_.changed.id, "alice: job submitted 1"};
  expected.insert(expected.end(), once.begin(), once.end());  // started, its model read, failed
  expected.push_back("alice: job queued 1");
  expected.insert(expected.end(), {"service: job running 1", "service: job failed 1"});
  expected.insert(expected.end(), {"alice: name set lab/one", "alice: name set lab/other", me + ": token revoked " + token_.changed.id});
  EXPECT_EQ(changes, expected) << log.dump(1);
  EXPECT_EQ(log.back().value("reason", ""), "alice") << "whose token it was";
  EXPECT_THAT(log.dump(), ::testing::Not(HasSubstr(token_.secret)));
}

TEST_F(Operation, ACancellationIsAuditedWithItsReason) {
  ServeConfig config;
  config.gangs_max = 0;  // nothing starts
  serve(config);
  ASSERT_EQ(submit().status, 201u);
  ASSERT_EQ(ask("POST", "/v1/jobs/1/cancel", R"({"reason": "wrong model"})").status, 200u);
  const json last = json::parse(http_request(service_->local(), "GET", "/v1/audit?limit=1").body)["entries"];
  ASSERT_EQ(last.size(), 1u);
  EXPECT_EQ(last[0].value("by", ""), "alice");
  EXPECT_EQ(last[0].value("change", ""), "job cancelled");
  EXPECT_EQ(last[0].value("reason", ""), "wrong model");
}

// Samples by name and labels. Every line is looked at: families are declared once and before their samples, names of
// counters end in _total, values are numbers, and the text ends with # EOF.
std::map<std::string, double> open_metrics(const std::string& text) {
  std::map<std::string, double> samples;
  std::map<std::string, std::string> types;
  std::istringstream lines(text);
  std::string line, family, last;
  const std::regex sample("([a-z_:][a-z0-9_:]*)(\\{[a-z_]+=\"[^\"\\\\\\n]*\"\\})? (-?[0-9]+(\\.[0-9]+)?)");
  while (std::getline(lines, line)) {
    EXPECT_NE(last, "# EOF") << "a line behind the end: " << line;
    last = line;
    std::istringstream words(line);
    std::string hash, keyword, name, rest;
    words >> hash >> keyword >> name;
    std::getline(words, rest);
    if (line.starts_with("# TYPE ")) {
      EXPECT_TRUE(types.emplace(name, rest.substr(1)).second) << name << " is declared twice";
      EXPECT_TRUE(rest == " gauge" || rest == " counter") << line;
      family = name;
    } else if (line.starts_with("# HELP ")) {
      EXPECT_EQ(name, family);
    } else if (line != "# EOF") {
      std::smatch parts;
      EXPECT_TRUE(std::regex_match(line, parts, sample)) << line;
      if (parts.empty()) continue;
      EXPECT_EQ(parts[1].str(), family + (types[family] == "counter" ? "_total" : "")) << line;
      EXPECT_TRUE(samples.emplace(parts[1].str() + parts[2].str(), std::stod(parts[3].str())).second) << line << " comes twice";
    }
  }
  EXPECT_EQ(last, "# EOF");
  EXPECT_TRUE(text.ends_with('\n'));
  return samples;
}

TEST_F(Operation, MetricsAreOpenMetricsAndMove) {
  ServeConfig config;
  config.gangs_max = 0;
  serve(config);
  const HttpAnswer first = ask("GET", "/metrics");
  ASSERT_EQ(first.status, 200u);
  std::map<std::string, double> before = open_metrics(first.body);
  EXPECT_EQ(before.at("quench_jobs{state=\"queued\"}"), 0);
  EXPECT_EQ(before.at("quench_store_writable"), 1);
  ASSERT_EQ(submit().status, 201u);
  ASSERT_EQ(submit().status, 201u);
  ASSERT_EQ(ask("POST", "/v1/jobs/2/cancel").status, 200u);
  std::map<std::string, double> after = open_metrics(ask("GET", "/metrics").body);
  EXPECT_EQ(after.at("quench_jobs{state=\"queued\"}"), 1);
  EXPECT_EQ(after.at("quench_jobs{state=\"cancelled\"}"), 1);
  EXPECT_EQ(after.at("quench_store_commits_total"), before.at("quench_store_commits_total") + 3);
  EXPECT_EQ(after.at("quench_events_total"), before.at("quench_events_total") + 3);
  EXPECT_EQ(after.at("quench_http_requests_total"), before.at("quench_http_requests_total") + 4);
  for (const auto& [name, value] : before)
    if (name.find("_total") != std::string::npos) {
      EXPECT_GE(after.at(name), value) << name;
    }
}

// While it lives no file of this process can grow, which to a store is a full disk.
class NoRoom {
 public:
  NoRoom() {
    std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit none{0, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &none);
  }
  ~NoRoom() { ::setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(Operation, AServiceWithoutAWritableStoreIsNotReadyUntilItIsAgain) {
  serve();
  EXPECT_EQ(ask("GET", "/readyz").body, "ready\n");
  unsigned refused = 0;
  HttpAnswer ready;
  {
    const NoRoom no_room;
    refused = submit().status;
    comes_true([&] { return (ready = ask("GET", "/readyz")).status == 503; });
  }
  EXPECT_EQ(refused, 500u);
  EXPECT_EQ(ready.status, 503u);
  EXPECT_EQ(ready.body, "the store takes no writes\n");
  EXPECT_EQ(ask("GET", "/healthz").status, 200u);
  EXPECT_TRUE(comes_true([&] { return ask("GET", "/readyz").status == 200; })) << "the store is opened again by itself";
  EXPECT_EQ(submit().status, 201u);
}

TEST_F(Operation, AServiceThatStopsIsNotReady) {
  // A worker that takes its time to end.
  const ScriptFile worker("#!/bin/sh\ntrap 'sleep 0.4; exit 0' TERM\n: > \"$0.ready\"\nwhile :; do sleep 0.05; done\n");
  serve({}, worker.path());
  const json job = {{"name", "job"}, {"model", "http://127.0.0.1:9/v1"}, {"modelName", "m"}, {"evaluate", {{{"benchmark", "humaneval"}}}}};
  ASSERT_EQ(ask("POST", "/v1/jobs", job.dump()).status, 201u);
  ASSERT_TRUE(comes_true([&] { return std::filesystem::exists(worker.ready()); }));
  EXPECT_EQ(ask("GET", "/readyz").status, 200u);
  service_->stop();
  HttpAnswer ready, healthy, late;
  EXPECT_TRUE(comes_true([&] { return (ready = ask("GET", "/readyz")).status == 503; }));
  healthy = ask("GET", "/healthz");
  late = submit();
  EXPECT_EQ(ready.body, "stopping\n");
  EXPECT_EQ(healthy.status, 200u);
  EXPECT_EQ(late.status, 503u) << late.body;
  service_.reset();  // before its worker's file goes
}

TEST_F(Operation, NobodyPublishesMoreThanHisShare) {
  ServeConfig config;
  config.gangs_max = 0;
  config.bytes_per_user_max = 1'000'000;
  serve(config);
  ASSERT_EQ(publish("first", 400'000).status, 200u);
  // The chunk of another user is there already: only its publication tells whose it is.
  const std::string chunk(700'000, 's');
  ASSERT_EQ(http_request(service_->local(), "PUT", "/v1/store/chunks/" + sha256(chunk).hex(), chunk).status, 200u);
  const HttpAnswer refused = publish("second", 700'000);
  EXPECT_EQ(refused.status, 429u) << refused.body;
  EXPECT_EQ(json::parse(refused.body).value("code", ""), "quota");
  EXPECT_THAT(refused.body, HasSubstr("alice has artifacts of 400 kB in the store"));
  EXPECT_EQ(ask("GET", "/v1/artifacts/second").status, 404u) << "nothing of it is published";
  EXPECT_EQ(ask("GET", "/v1/artifacts/first").status, 200u);
  EXPECT_EQ(publish("third", 500'000).status, 200u) << "what fits is taken";
}

}  // namespace
}  // namespace quench::coordinator
