// Jobs whose model is served elsewhere, against a real HTTP server that answers, dawdles, refuses and breaks.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <optional>
#include <set>
#include <sstream>
#include <thread>

#include "tests/integration/small_job.h"

namespace quench::testing {
namespace {

namespace fs = std::filesystem;

constexpr int kTasks = 12;

// The server of endpoint_server.py in the background.
class Server {
 public:
  explicit Server(const ScratchDirectory& scratch, std::vector<std::string> options = {}, bool tls = false)
      : folder_(scratch / "server"), tls_(tls) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    std::vector<std::string> arguments = {"/usr/bin/python3", "-B",
                                          QUENCH_SOURCE_DIR "/tests/integration/endpoint_server.py", "--port-file",
                                          folder_ / "port", "--problems",
                                          QUENCH_SOURCE_DIR "/worker/evaluate/data/HumanEval.jsonl", "--log",
                                          folder_ / "log"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    process_.emplace(arguments, Environment{}, folder_ / "err");
    for (int turn = 0; !fs::exists(folder_ / "port") && turn < 2000; ++turn)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    port_ = read_text(folder_ / "port");
    EXPECT_FALSE(port_.empty()) << read_text(folder_ / "err");
  }
  std::string url() const { return (tls_ ? "https://localhost:" : "http://127.0.0.1:") + port_ + "/v1"; }
  std::vector<nlohmann::json> requests() const {
    std::vector<nlohmann::json> all;
    std::istringstream log(read_text(folder_ / "log"));
    for (std::string line; std::getline(log, line);) all.push_back(nlohmann::json::parse(line));
    return all;
  }

 private:
  fs::path folder_;
  bool tls_;
  std::optional<Running> process_;
  std::string port_;
};

nlohmann::json endpoint_job(const Server& server) {
  return {{"name", "served"},
          {"model", server.url()},
          {"modelName", "coder"},
          {"concurrency", 4},
          {"requestSeconds", 5},
          {"requestTries", 3},
          {"evaluate", {{{"benchmark", "humaneval"}, {"samples", 1}, {"temperature", 0.2}, {"tasks", kTasks}}}}};
}

class Endpoint : public ::testing::Test {
 protected:
  Finished run_job(const nlohmann::json& job, const Environment& environment = {}) {
    write_text(scratch_ / "job.json", job.dump());
    return run(run_arguments(scratch_ / "job.json", scratch_ / "store", 1), environment, std::chrono::seconds(120));
  }
  static nlohmann::json report_of(const Finished& finished) {
    const nlohmann::json report = nlohmann::json::parse(finished.out, nullptr, false);
    EXPECT_TRUE(report.is_object()) << finished.out << finished.err;
    return report;
  }
  void expect_all_passed(const Finished& finished) {
    ASSERT_EQ(finished.exit_code, 0) << finished.err;
    const nlohmann::json report = report_of(finished);
    ASSERT_EQ(report["artifacts"].size(), 1u);
    EXPECT_EQ(report["artifacts"][0]["method"], "none");
    EXPECT_EQ(report["artifacts"][0]["evaluations"][0]["pass_at_1"], 1.0);
    EXPECT_EQ(report["artifacts"][0]["evaluations"][0]["samples"], 1);
  }
  std::size_t kept() {
    const Finished lines =
        run({quench_program(), "artifacts", "completions", "served/none", "--store", (scratch_ / "store").string()});
    return lines.exit_code == 0 ? static_cast<std::size_t>(std::count(lines.out.begin(), lines.out.end(), '\n')) : 0;
  }
  ScratchDirectory scratch_;
};

TEST_F(Endpoint, IsBenchmarkedFromJobToReport) {
  const Server server(scratch_, {"--only", "coder", "--delay", "0.05"});
  const Finished finished = run_job(endpoint_job(server));
  expect_all_passed(finished);
  const std::vector<nlohmann::json> requests = server.requests();
  EXPECT_EQ(requests.size(), std::size_t{kTasks}) << "one request for each (task, sample)";
  std::set<int> seeds;
  for (const nlohmann::json& request : requests) {
    EXPECT_EQ(request["path"], "/v1/completions");
    EXPECT_EQ(request["body"]["max_tokens"], 512);
    EXPECT_EQ(request["body"]["temperature"], 0.2);
    EXPECT_EQ(request["body"]["stop"].size(), 4u) << "more than OpenAI takes";
    EXPECT_LE(request["at_once"], 4);
    EXPECT_EQ(request["key"], "");
    seeds.insert(request["body"]["seed"].get<int>());
  }
  EXPECT_EQ(seeds.size(), std::size_t{kTasks}) << "each sample has a seed of its own";
  // What the model said is kept as it came, beside what was executed.
  const Finished lines =
      run({quench_program(), "artifacts", "completions", "served/none", "--store", (scratch_ / "store").string()});
  const auto first = nlohmann::json::parse(lines.out.substr(0, lines.out.find('\n')));
  EXPECT_NE(first["output"].get<std::string>().find("def unasked"), std::string::npos);
  EXPECT_EQ(first["completion"].get<std::string>().find("def unasked"), std::string::npos);
  // The same job again asks nothing.
  EXPECT_EQ(run_job(endpoint_job(server)).exit_code, 0);
  EXPECT_EQ(server.requests().size(), std::size_t{kTasks});
  // Neither does another job about the same place and settings.
  nlohmann::json other = endpoint_job(server);
  other["name"] = "another";
  const Finished again = run_job(other);
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(server.requests().size(), std::size_t{kTasks});
  EXPECT_NE(again.err.find("12 verdicts were kept from before"), std::string::npos) << again.err;
  EXPECT_EQ(report_of(again)["artifacts"][0]["digest"], report_of(finished)["artifacts"][0]["digest"]);
}

TEST_F(Endpoint, PassingTroubleCostsTimeAndNothingElse) {
  const Server server(scratch_, {"--script", "429,500,half,garbage,close,text,null,503,huge"});
  nlohmann::json job = endpoint_job(server);
  job["requestTries"] = 10;  // one unlucky request may meet them all
  expect_all_passed(run_job(job));
  EXPECT_EQ(server.requests().size(), std::size_t{kTasks} + 9);
}

TEST_F(Endpoint, LastingTroubleEndsTheJobClearly) {
  for (const auto& [mode, words] : std::vector<std::pair<std::string, std::string>>{
           {"500", "status 500"}, {"429", "status 429"}, {"half", "ended before the answer"}, {"garbage", "no JSON"},
           {"slow", "not done within 1 s"}}) {
    const Server server(scratch_, {"--always", mode});
    nlohmann::json job = endpoint_job(server);
    job["name"] = "served-" + mode;
    job["requestTries"] = 2;
    job["requestSeconds"] = 1;
    const Finished finished = run_job(job);
    EXPECT_EQ(finished.exit_code, 4) << mode << finished.err;
    EXPECT_NE(finished.err.find(words), std::string::npos) << mode << ": " << finished.err;
    EXPECT_NE(finished.err.find("goes on where it stopped"), std::string::npos) << mode << ": " << finished.err;
    EXPECT_EQ(finished.out, "");
    for (const char c : finished.err) EXPECT_NE(c, '\x1b') << "the server speaks to the terminal";
  }
}

TEST_F(Endpoint, WhatWasAnsweredBeforeTheEndIsKeptAndNotAskedAgain) {
  const Server server(scratch_, {"--script", "ok,ok,ok,ok,ok,500,500"});
  nlohmann::json job = endpoint_job(server);
  job["concurrency"] = 1;
  job["requestTries"] = 2;
  const Finished broken = run_job(job);
  EXPECT_EQ(broken.exit_code, 4) << broken.err;
  EXPECT_EQ(kept(), 5u) << "the lease's other completions were not thrown away";
  expect_all_passed(run_job(job));
  EXPECT_EQ(server.requests().size(), std::size_t{kTasks} + 2);
}

TEST_F(Endpoint, KeysComeFromTheEnvironmentOnly) {
  const Server server(scratch_, {"--require-key", "sk-very-secret"});
  nlohmann::json job = endpoint_job(server);
  const Finished refused = run_job(job);
  EXPECT_EQ(refused.exit_code, 3) << refused.err;
  EXPECT_NE(refused.err.find("status 401"), std::string::npos) << refused.err;
  EXPECT_NE(refused.err.find("apiKeyVariable"), std::string::npos) << refused.err;
  job["apiKeyVariable"] = "QUENCH_TEST_KEY";
  const Finished unset = run_job(job);
  EXPECT_EQ(unset.exit_code, 2) << unset.err;
  EXPECT_NE(unset.err.find("QUENCH_TEST_KEY"), std::string::npos) << unset.err;
  const Finished finished = run_job(job, {{"QUENCH_TEST_KEY", "sk-very-secret"}});
  expect_all_passed(finished);
  EXPECT_EQ(finished.err.find("very-secret"), std::string::npos);
  for (const auto& log : fs::directory_iterator(scratch_ / "store" / "logs"))
    EXPECT_EQ(read_text(log.path()).find("very-secret"), std::string::npos);
}

TEST_F(Endpoint, SpeaksTlsWithServersItCanTrust) {
  const auto certificate = (scratch_ / "certificate.pem").string(), key = (scratch_ / "key.pem").string();
  const Finished made =
      run({"openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
           "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const Server server(scratch_, {"--certificate", certificate, "--key", key}, true);
  nlohmann::json job = endpoint_job(server);
  job["requestTries"] = 1;
  const Finished stranger = run_job(job);
  EXPECT_EQ(stranger.exit_code, 4) << stranger.err;
  EXPECT_NE(stranger.err.find("certificate"), std::string::npos) << stranger.err;
  EXPECT_EQ(server.requests().size(), 0u) << "nothing is said to a server that is not known";
  expect_all_passed(run_job(job, {{"SSL_CERT_FILE", certificate}}));
}

TEST_F(Endpoint, NobodyAnswersIsToldWithItsPlace) {
  nlohmann::json job = {{"model", "http://127.0.0.1:9/v1"}, {"name", "served"}, {"requestTries", 2},
                        {"evaluate", {{{"tasks", 2}}}}};
  const Finished finished = run_job(job);
  EXPECT_EQ(finished.exit_code, 4) << finished.err;
  EXPECT_NE(finished.err.find("http://127.0.0.1:9/v1"), std::string::npos) << finished.err;
  EXPECT_NE(finished.err.find("failed 2 times"), std::string::npos) << finished.err;
}

TEST_F(Endpoint, JobsThatMakeNoSenseAreRefused) {
  const std::vector<std::pair<nlohmann::json, std::string>> cases = {
      {{{"quantize", {{{"method", "rtn"}}}}}, "/quantize"},
      {{{"baseline", false}}, "/baseline"},
      {{{"model", "http://user:secret@host/v1"}}, "QUENCH_ENDPOINT_KEY"},
      {{{"model", "http://host:99999/v1"}}, "port"},
      {{{"apiKeyVariable", "sk-abc"}}, "never the key itself"},
      {{{"evaluate", nlohmann::json::array()}}, "/evaluate"},
      {{{"concurrency", 0}}, "/concurrency"},
      {{{"model", fixture("tiny_coder").string()}, {"modelName", "x"}}, "/modelName"},
  };
  for (const auto& [change, words] : cases) {
    nlohmann::json job = {{"model", "http://127.0.0.1:9/v1"}, {"evaluate", {{{"tasks", 2}}}}};
    job.update(change);
    const Finished finished = run_job(job);
    EXPECT_EQ(finished.exit_code, 2) << change << finished.err;
    EXPECT_NE(finished.err.find(words), std::string::npos) << change << finished.err;
    EXPECT_EQ(finished.err.find("user:secret"), std::string::npos) << finished.err;
    EXPECT_FALSE(fs::exists(scratch_ / "store")) << change;
  }
}

}  // namespace
}  // namespace quench::testing
