// The service with the real programs: jobs submitted, watched, cancelled, tried again; a service that is killed and
// started again goes on, and the digests are those of `quench run`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>

#include "tests/integration/small_job.h"
#include "tests/support/waiting.h"

namespace quench::testing {
namespace {

using ::testing::HasSubstr;
using Clock = std::chrono::steady_clock;
using nlohmann::json;

class Serve : public ::testing::Test {
 protected:
  Serve() {
    config_ = {{"store", (scratch_ / "store").string()}, {"slots", 2}};
    marker_ = std::to_string(::getpid()) + "-" + ::testing::UnitTest::GetInstance()->current_test_info()->name();
  }
  void start_service() {
    write_text(scratch_ / "serve.json", config_.dump());
    service_ = std::make_unique<Running>(std::vector<std::string>{quench_program(), "serve", "--config", scratch_ / "serve.json"},
                                         Environment{{"QUENCH_SERVE_TEST", marker_}}, scratch_ / "err.txt");
    ASSERT_TRUE(wait_for([&] { return ask({"status"}).exit_code == 0; }, std::chrono::seconds(30)))
        << read_text(scratch_ / "err.txt");
  }
  Finished ask(std::vector<std::string> arguments, const Environment& environment = {}) {
    arguments.insert(arguments.begin(), quench_program());
    arguments.insert(arguments.end(), {"--store", scratch_ / "store"});
    return run(arguments, environment);
  }
  json ask_json(std::vector<std::string> arguments) {
    arguments.push_back("--json");
    const Finished finished = ask(arguments);
    EXPECT_EQ(finished.exit_code, 0) << finished.out << finished.err;
    return json::parse(finished.out, nullptr, false);
  }
  // Its number.
  std::string submit(const json& job, const std::vector<std::string>& options = {}) {
    write_text(scratch_ / "job.json", job.dump());
    std::vector<std::string> arguments = {"submit", scratch_ / "job.json"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    arguments.push_back("--json");
    const Finished finished = ask(arguments);
    EXPECT_EQ(finished.exit_code, 0) << finished.err;
    return std::to_string(json::parse(finished.out.substr(0, finished.out.find('\n')), nullptr, false).value("id", 0));
  }
  json job_named(const std::string& name, int ranks = 2) {
    json job = small_job();
    job["name"] = name;
    job["ranks"] = ranks;
    job["calibration"]["seed"] = std::hash<std::string>()(name) % 1000;  // other work
    return job;
  }
  std::string state_of(const std::string& id) { return ask_json({"status", id})["job"].value("state", ""); }
  // "NAME DIGEST" of each artifact.
  std::vector<std::string> digests(const std::string& id) {
    std::vector<std::string> found;
    const json detail = ask_json({"status", id});
    for (const json& artifact : detail["artifacts"])
      found.push_back(artifact.value("name", "") + " " + (artifact["digest"].is_string() ? artifact["digest"].get<std::string>() : "none"));
    return found;
  }
  std::vector<std::string> digests_of_run(const json& job) {
    write_text(scratch_ / "alone.json", job.dump());
    const Finished finished = run(run_arguments(scratch_ / "alone.json", scratch_ / "alone", 1));
    EXPECT_EQ(finished.exit_code, 0) << finished.err;
    return digests_of(finished);
  }
  static void make_certificate(const std::filesystem::path& certificate, const std::filesystem::path& key) {
    const Finished made = run({"openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                               "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate});
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }
  // No process of the service or its gangs is left.
  bool all_gone() { return processes_with("QUENCH_SERVE_TEST=" + marker_).empty(); }

  ScratchDirectory scratch_;
  json config_;
  std::string marker_;
  std::unique_ptr<Running> service_;
};

TEST_F(Serve, TwoJobsGoThroughTheQueueAndOneIsCancelled) {
  start_service();
  json long_job = job_named("long");
  long_job["calibration"]["sequences"] = 2000;  // long enough to be cancelled in the midst of it
  const std::string first = submit(long_job);
  const std::string second = submit(job_named("second"));
  EXPECT_EQ(state_of(second), "queued");
  EXPECT_EQ(ask_json({"status", second})["job"]["reason"], "it asks for 2 ranks and 0 of 2 are free");
  ASSERT_TRUE(wait_for([&] { return ask_json({"status", first})["workers"].size() == 2; }, std::chrono::seconds(60)));
  const std::string third = submit(job_named("third"), {"--after", first + "," + second});
  EXPECT_EQ(ask_json({"status", third})["job"]["reason"], "it comes after job " + first + " (running), job " + second + " (queued)");
  const Finished cancelled = ask({"cancel", first, "--reason", "wrong calibration"});
  EXPECT_EQ(cancelled.exit_code, 0) << cancelled.err;
  const Finished watched = ask({"watch", second});
  EXPECT_EQ(watched.exit_code, 0) << watched.err;
  EXPECT_THAT(watched.err, HasSubstr("job " + second + " is done"));
  EXPECT_EQ(state_of(first), "cancelled");
  EXPECT_EQ(ask({"watch", first}).exit_code, 1);
  EXPECT_EQ(state_of(third), "failed");
  EXPECT_THAT(ask_json({"status", third})["job"].value("reason", ""),
              HasSubstr("job " + first + ", which it comes after, was cancelled (wrong calibration): try that one again first"));
  EXPECT_EQ(ask({"retry", third}).exit_code, 2) << "not before that one";
  EXPECT_THAT(ask({"status"}).out, HasSubstr("wrong calibration"));
  EXPECT_EQ(digests(second), digests_of_run(job_named("second")));
  const Finished log = ask({"logs", second});
  EXPECT_THAT(log.out, HasSubstr("model.layers.0.mlp.down_proj.weight  loss "));
  EXPECT_THAT(log.out, HasSubstr("published second/int8"));

  EXPECT_EQ(ask({"cancel", first}).exit_code, 2);
  EXPECT_EQ(ask({"retry", second}).exit_code, 2);
  EXPECT_EQ(ask({"retry", "99"}).exit_code, 2);
  service_->kill(SIGTERM);
  EXPECT_EQ(service_->wait(), 0) << read_text(scratch_ / "err.txt");
  EXPECT_TRUE(wait_for([&] { return all_gone(); }, std::chrono::seconds(15)));
  const Finished verified = ask({"artifacts", "verify"});
  EXPECT_EQ(verified.exit_code, 0) << verified.out;
}

TEST_F(Serve, AKilledServiceGoesOnWhereItWas) {
  const std::vector<std::string> names = {"a", "b", "c"};
  std::map<std::string, std::vector<std::string>> expected;
  for (const std::string& name : names) expected[name] = digests_of_run(job_named(name));
  start_service();
  std::map<std::string, std::string> ids;
  for (const std::string& name : names) ids[name] = submit(job_named(name, name == "a" ? 2 : 1));
  std::mt19937 random(7);
  int kills = 0;
  for (; kills < 6 && state_of(ids["c"]) != "done"; ++kills) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100 + random() % 500));
    service_->kill(SIGKILL);
    service_->wait();
    start_service();
  }
  EXPECT_GE(kills, 3) << "too quick to be killed often";
  for (const std::string& name : names) {
    const Finished watched = ask({"watch", ids[name]});
    EXPECT_EQ(watched.exit_code, 0) << name << watched.err;
    EXPECT_EQ(digests(ids[name]), expected[name]);
  }
  service_->kill(SIGTERM);
  EXPECT_EQ(service_->wait(), 0);
  EXPECT_TRUE(wait_for([&] { return all_gone(); }, std::chrono::seconds(15)));
  const Finished verified = ask({"artifacts", "verify"});
  EXPECT_EQ(verified.exit_code, 0) << verified.out;
}

// Its ranks work on without it, keep what is not committed and hand it to the next one: no attempt is started anew.
TEST_F(Serve, AGangOutlivesItsService) {
  json job = job_named("outliving");
  job["quantize"] = {{{"method", "int8"}}, {{"method", "gptq"}, {"bits", 4}, {"groupSize", 32}}, {{"method", "gptq"}, {"bits", 3}, {"groupSize", 64}}};
  job["calibration"]["sequences"] = 200;
  const std::vector<std::string> expected = digests_of_run(job);
  start_service();
  const std::string id = submit(job);
  const auto ranks = [&] {
    std::vector<pid_t> found = processes_with("QUENCH_SERVE_TEST=" + marker_, "quench-worker");
    std::sort(found.begin(), found.end());
    return found;
  };
  ASSERT_TRUE(wait_for([&] { return ask_json({"status", id})["workers"].size() == 2; }, std::chrono::seconds(60)));
  const std::vector<pid_t> gang = ranks();
  ASSERT_EQ(gang.size(), 2u);
  std::mt19937 random(11);
  int kills = 0;
  while (kills < 4 && state_of(id) != "done") {
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 400));
    service_->kill(SIGKILL);
    service_->wait();
    ++kills;
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 800));
    start_service();
    ASSERT_TRUE(wait_for([&] { return ask_json({"status", id})["workers"].size() == 2 || state_of(id) == "done"; },
                         std::chrono::seconds(60)));
    const std::vector<pid_t> now = ranks();
    EXPECT_TRUE(std::includes(gang.begin(), gang.end(), now.begin(), now.end())) << "another one was started" << ask({"logs", id}).out;
  }
  EXPECT_GE(kills, 2) << "too quick to be killed often";
  const Finished watched = ask({"watch", id});
  EXPECT_EQ(watched.exit_code, 0) << watched.err << ask({"logs", id}).out;
  EXPECT_EQ(digests(id), expected);
  const std::string log = ask({"logs", id}).out;
  EXPECT_THAT(log, HasSubstr("ranks of attempt 1 are back and go on")) << log;
  EXPECT_EQ(count(log, "starting the gang again"), 0u) << log;
  EXPECT_TRUE(wait_for([&] { return ranks().empty(); }, std::chrono::seconds(15)));
  service_->kill(SIGTERM);
  EXPECT_EQ(service_->wait(), 0);
  EXPECT_EQ(ask({"artifacts", "verify"}).exit_code, 0);
}

TEST_F(Serve, AGangWhoseServiceStaysAwayEndsByItself) {
  config_["reconnectSeconds"] = 2;
  start_service();
  json job = job_named("orphan");
  job["calibration"]["sequences"] = 2000;
  const std::string id = submit(job);
  ASSERT_TRUE(wait_for([&] { return ask_json({"status", id})["workers"].size() == 2; }, std::chrono::seconds(60)));
  service_->kill(SIGKILL);
  service_->wait();
  EXPECT_FALSE(all_gone()) << "it waits";
  EXPECT_TRUE(wait_for([&] { return all_gone(); }, std::chrono::seconds(20)));
  // The next service finds nobody, and the next attempt goes on from the last block.
  start_service();
  EXPECT_TRUE(wait_for([&] { return ask_json({"status", id}).value("attempt", 0) == 2; }, std::chrono::seconds(60)));
  // A cancelled job's gang ends even when its service dies before it has ended.
  ASSERT_EQ(ask({"cancel", id}).exit_code, 0);
  service_->kill(SIGKILL);
  service_->wait();
  start_service();
  EXPECT_TRUE(wait_for([&] { return processes_with("QUENCH_SERVE_TEST=" + marker_, "quench-worker").empty(); },
                       std::chrono::seconds(15)));
  EXPECT_EQ(state_of(id), "cancelled");
}

TEST_F(Serve, WorkersTellWhatTheyTake) {
  start_service();
  json job = job_named("watched");
  job["calibration"]["sequences"] = 2000;
  const std::string id = submit(job);
  json worker;
  ASSERT_TRUE(wait_for(
      [&] {
        const json workers = ask_json({"status", id})["workers"];
        if (workers.size() == 2) worker = workers[0];
        return workers.size() == 2 && workers[0].value("memory_bytes", 0) > 0 && workers[1].value("memory_bytes", 0) > 0;
      },
      std::chrono::seconds(60)));
  EXPECT_GT(worker.value("memory_bytes", std::uint64_t{0}), 5'000'000u) << worker;
  // A number or a reason, never a guess.
  EXPECT_EQ(worker.value("watts", -1.0) < 0, !worker.value("energy_note", "").empty()) << worker;
  const std::string shown = ask({"status", id}).out;
  EXPECT_THAT(shown, HasSubstr(" MB, "));
  if (worker["gpus"].empty()) {
    EXPECT_THAT(shown, HasSubstr("no GPU"));
  }
  EXPECT_EQ(ask({"cancel", id}).exit_code, 0);
}

TEST_F(Serve, AStoppedServiceLeavesItsJobToTheNextOne) {
  start_service();
  const std::string id = submit(job_named("stopped"));
  ASSERT_TRUE(wait_for([&] { return !ask_json({"status", id})["artifacts"][0]["blocks"].empty(); }, std::chrono::seconds(60)));
  service_->kill(SIGTERM);
  EXPECT_EQ(service_->wait(), 0) << read_text(scratch_ / "err.txt");
  EXPECT_EQ(ask({"status"}).exit_code, 4) << "nobody answers";
  start_service();
  EXPECT_EQ(ask({"watch", id}).exit_code, 0);
  EXPECT_EQ(digests(id), digests_of_run(job_named("stopped")));
  const json history = ask_json({"status", id})["history"];
  EXPECT_EQ(history[3].value("reason", ""), "the service was started again while the job was at work") << history;
}

// The blocks of a cancelled job go with the collector, never those of one at work; what it has published stays, and tried again it
// makes the rest anew.
TEST_F(Serve, ACancelledJobsBlocksAreCollectedAndMadeAnew) {
  start_service();
  json job = job_named("given-up", 1);
  job["quantize"] = {{{"method", "int8"}}, {{"method", "gptq"}, {"bits", 4}, {"groupSize", 32}}};
  job["calibration"]["sequences"] = 300;
  const auto is_in_the_midst = [&](const std::string& id) {
    const json artifacts = ask_json({"status", id})["artifacts"];
    return artifacts.size() == 3 && artifacts[1]["digest"].is_string() && !artifacts[2]["blocks"].empty() && artifacts[2]["blocks"].size() < 5;
  };
  const std::string given_up = submit(job);
  ASSERT_TRUE(wait_for([&] { return is_in_the_midst(given_up); }, std::chrono::seconds(60)));
  ASSERT_EQ(ask({"cancel", given_up}).exit_code, 0);
  ASSERT_TRUE(wait_for([&] { return state_of(given_up) == "cancelled"; }, std::chrono::seconds(30)));
  json at_work = job;
  at_work["name"] = "at-work";
  at_work["calibration"]["seed"] = 99;
  const std::string live = submit(at_work);
  ASSERT_TRUE(wait_for([&] { return is_in_the_midst(live); }, std::chrono::seconds(60)));

  EXPECT_EQ(ask_json({"artifacts", "gc"})["jobs_forgotten"].size(), 0u) << "it may be tried again";
  const json gc = ask_json({"artifacts", "gc", "--grace", "0"});
  EXPECT_EQ(gc["jobs_forgotten"].size(), 1u) << gc;
  EXPECT_GT(gc["chunks_removed"], 0);
  EXPECT_EQ(ask({"artifacts", "verify"}).exit_code, 0);
  EXPECT_EQ(ask({"artifacts", "show", "given-up/int8"}).exit_code, 0);
  EXPECT_EQ(ask({"watch", live}).exit_code, 0) << ask({"logs", live}).out;
  EXPECT_EQ(ask({"retry", given_up}).exit_code, 0);
  EXPECT_EQ(ask({"watch", given_up}).exit_code, 0) << ask({"logs", given_up}).out;
  EXPECT_EQ(digests(given_up), digests_of_run(job));
  EXPECT_EQ(ask_json({"artifacts", "gc", "--grace", "0"})["jobs_forgotten"].size(), 0u);
  EXPECT_EQ(ask({"artifacts", "verify"}).exit_code, 0);
  service_->kill(SIGTERM);
  EXPECT_EQ(service_->wait(), 0);
}

TEST_F(Serve, EvaluationsGoThroughTheServiceToo) {
  json job = {{"name", "scored"},
              {"model", fixture("tiny_coder").string()},
              {"quantize", {{{"method", "rtn"}, {"bits", 3}, {"groupSize", 64}}}},
              {"evaluate", {{{"benchmark", "humaneval"}, {"maxTokens", 64}, {"tasks", 8}}}},
              {"ranks", 2}};
  start_service();
  const std::string id = submit(job, {"--watch"});
  const json detail = ask_json({"status", id});
  ASSERT_EQ(detail["job"].value("state", ""), "done") << detail << ask({"logs", id}).out;
  for (const json& evaluation : detail["evaluations"]) {
    EXPECT_EQ(evaluation.value("total", 0), 8) << evaluation;
    EXPECT_EQ(evaluation.value("done", 0), 8) << evaluation;
    EXPECT_TRUE(evaluation.value("complete", false)) << evaluation;
  }
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "store" / ("join-" + id))) << "the secret of a job that has ended";
  EXPECT_TRUE(std::filesystem::is_empty(scratch_ / "store" / "cache")) << "chunks of a job that has ended";
  // The store's other readers go through its owner, beside the service's work.
  const Finished report = ask({"artifacts", "verify", "--json"});
  EXPECT_EQ(report.exit_code, 0) << report.err;
  service_->kill(SIGTERM);
  EXPECT_EQ(service_->wait(), 0);
  write_text(scratch_ / "alone.json", job.dump());
  const json served = json::parse(run(run_arguments(scratch_ / "alone.json", scratch_ / "store", 2)).out, nullptr, false);
  const json alone = json::parse(run(run_arguments(scratch_ / "alone.json", scratch_ / "alone", 1)).out, nullptr, false);
  ASSERT_EQ(served["artifacts"].size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(served["artifacts"][i]["digest"], alone["artifacts"][i]["digest"]);
    EXPECT_EQ(served["artifacts"][i]["evaluations"][0]["pass_at_1"], alone["artifacts"][i]["evaluations"][0]["pass_at_1"]);
    EXPECT_EQ(served["artifacts"][i]["evaluations"][0]["digest"], alone["artifacts"][i]["evaluations"][0]["digest"]);
  }
}

TEST_F(Serve, AVanishedModelIsToldAndARetryFindsIt) {
  start_service();
  std::filesystem::copy(fixture("stories260k"), scratch_ / "model", std::filesystem::copy_options::recursive);
  json job = job_named("vanished");
  job["model"] = (scratch_ / "model").string();
  const std::string blocker = submit(job_named("blocker"));
  const std::string id = submit(job);
  std::filesystem::rename(scratch_ / "model", scratch_ / "away");
  EXPECT_EQ(ask({"watch", blocker}).exit_code, 0);
  const Finished failed = ask({"watch", id});
  EXPECT_EQ(failed.exit_code, 2) << failed.err;
  EXPECT_THAT(failed.err, HasSubstr((scratch_ / "model").string()));
  std::filesystem::rename(scratch_ / "away", scratch_ / "model");
  EXPECT_EQ(ask({"retry", id}).exit_code, 0);
  EXPECT_EQ(ask({"watch", id}).exit_code, 0);
}

// An evaluation worker from elsewhere over the service's certificate, which it finds beside the secret.
TEST_F(Serve, AWorkerJoinsOverTls) {
  make_certificate(scratch_ / "cert.pem", scratch_ / "key.pem");
  make_certificate(scratch_ / "other.pem", scratch_ / "other-key.pem");
  config_["workerListen"] = "127.0.0.1:0";
  config_["tlsCertificate"] = "cert.pem";
  config_["tlsKey"] = "key.pem";
  start_service();
  const std::string id = submit({{"name", "scored"},
                                 {"model", fixture("tiny_coder").string()},
                                 {"quantize", {{{"method", "rtn"}, {"bits", 3}, {"groupSize", 64}}}},
                                 {"evaluate", {{{"benchmark", "humaneval"}, {"maxTokens", 64}, {"tasks", 40}, {"samples", 2}}}},
                                 {"ranks", 1}});
  const std::filesystem::path folder = scratch_ / "store" / ("join-" + id);
  ASSERT_TRUE(wait_for([&] { return std::filesystem::exists(folder / "secret"); }, std::chrono::seconds(60)));
  const std::string endpoint = read_text(folder / "endpoint");
  ASSERT_EQ(endpoint.substr(0, 16), "tls://127.0.0.1:") << endpoint;
  EXPECT_EQ(read_text(folder / "certificate"), read_text(scratch_ / "cert.pem"));
  // As another host has them: copies of the secret and of the certificate.
  std::filesystem::copy_file(folder / "secret", scratch_ / "secret");
  const std::string address = endpoint.substr(6, endpoint.find('\n') - 6);
  const auto join = [&](const std::string& at, const std::string& certificate) {
    return run({worker_program(), "--threads", "1", "evaluate", "--coordinator", at, "--secret-file", scratch_ / "secret", "--certificate",
                scratch_ / certificate});
  };
  run({"/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/" + address.substr(address.find(':') + 1) + "; printf 'hello in the clear' >&3; cat <&3"});
  const Finished stranger = join("tls://" + address, "other.pem");
  EXPECT_EQ(stranger.exit_code, 4);
  EXPECT_THAT(stranger.err, HasSubstr("certificate verify failed"));
  EXPECT_EQ(join("tls://" + address, "none.pem").exit_code, 2);
  const Finished joined = join(address, "cert.pem");
  EXPECT_EQ(joined.exit_code, 0) << joined.err;
  EXPECT_EQ(ask({"watch", id}).exit_code, 0);
  const std::string log = ask({"logs", id}).out;
  EXPECT_EQ(count(log, "an evaluation worker joined from"), 1u) << log;
  EXPECT_GE(count(log, "no encrypted connection with the peer"), 2u) << log;
}

TEST_F(Serve, TokensOverTls) {
  make_certificate(scratch_ / "cert.pem", scratch_ / "key.pem");
  config_["listen"] = "127.0.0.1:0";
  config_["allowedPaths"] = {fixture("stories260k").parent_path().string()};
  config_["tlsCertificate"] = "cert.pem";
  config_["tlsKey"] = "key.pem";
  start_service();
  const std::string said = read_text(scratch_ / "err.txt");
  const std::size_t at = said.find("https://127.0.0.1:");
  ASSERT_NE(at, std::string::npos) << said;
  const std::string url = said.substr(at, said.find('\n', at) - at);
  const Finished token = ask({"token", "create", "--user", "alice", "--scope", "read,submit"});
  ASSERT_EQ(token.exit_code, 0) << token.err;
  const std::string secret = token.out.substr(0, token.out.find('\n'));

  const auto remote = [&](std::vector<std::string> arguments, Environment environment) {
    environment["QUENCH_URL"] = url;
    environment.try_emplace("QUENCH_CA_FILE", scratch_ / "cert.pem");
    arguments.insert(arguments.begin(), quench_program());
    return run(arguments, environment);
  };
  write_text(scratch_ / "job.json", job_named("remote").dump());
  write_text(scratch_ / "token", secret + "\n");
  const Finished submitted = remote({"submit", scratch_ / "job.json", "--watch"}, {{"QUENCH_TOKEN_FILE", scratch_ / "token"}});
  EXPECT_EQ(submitted.exit_code, 0) << submitted.err;
  EXPECT_EQ(remote({"status"}, {}).exit_code, 3) << "no token";
  EXPECT_EQ(remote({"token", "ls"}, {{"QUENCH_TOKEN", secret}}).exit_code, 3) << "not his";
  EXPECT_EQ(remote({"status"}, {{"QUENCH_TOKEN", secret}, {"QUENCH_CA_FILE", ""}}).exit_code, 4) << "nobody vouches for it";
  EXPECT_EQ(run({quench_program(), "status"}, {{"QUENCH_URL", "http" + url.substr(5)}, {"QUENCH_TOKEN", secret}}).exit_code, 4)
      << "unencrypted";
  const json tokens = ask_json({"token", "ls"});
  const std::string id = tokens["tokens"][0].value("id", "");
  EXPECT_EQ(ask({"token", "revoke", id}).exit_code, 0);
  EXPECT_EQ(remote({"status"}, {{"QUENCH_TOKEN", secret}}).exit_code, 3) << "revoked";
  service_->kill(SIGKILL);
  service_->wait();
  start_service();
  EXPECT_TRUE(ask_json({"token", "ls"})["tokens"][0].value("revoked_unix_ms", std::int64_t{0}) > 0) << "remembered";
  EXPECT_EQ(read_text(scratch_ / "err.txt").find(secret), std::string::npos) << "a secret in the log";
}

TEST_F(Serve, BadConfigurationsAreTold) {
  const auto refused = [&](const json& config) {
    write_text(scratch_ / "bad.json", config.dump());
    const Finished finished = run({quench_program(), "serve", "--config", scratch_ / "bad.json"});
    EXPECT_EQ(finished.exit_code, 2) << finished.err;
    EXPECT_THAT(finished.err, HasSubstr("bad.json"));
    return finished.err;
  };
  const std::string store = scratch_ / "store";
  EXPECT_THAT(refused({{"stor", store}}), HasSubstr("did you mean \"store\""));
  EXPECT_THAT(refused(json::object()), HasSubstr("\"store\" is missing"));
  EXPECT_THAT(refused({{"store", store}, {"listen", "0.0.0.0:0"}}), HasSubstr("must not travel unencrypted"));
  EXPECT_THAT(refused({{"store", store}, {"listen", "127.0.0.1:0"}}), HasSubstr("allowedPaths"));
  EXPECT_THAT(refused({{"store", store}, {"listen", "somewhere"}}), HasSubstr("listen"));
  EXPECT_THAT(refused({{"store", store}, {"launcher", "magic"}}), HasSubstr("launcher"));
  EXPECT_THAT(refused({{"store", store}, {"workerListen", "0.0.0.0:0"}}), HasSubstr("must not travel unencrypted"));
  EXPECT_EQ(run({quench_program(), "serve", "--config", scratch_ / "none.json"}).exit_code, 2);
  start_service();
  write_text(scratch_ / "second.json", json{{"store", store}, {"socket", (scratch_ / "other.sock").string()}}.dump());
  const Finished second = run({quench_program(), "serve", "--config", scratch_ / "second.json"});
  EXPECT_EQ(second.exit_code, 2);
  EXPECT_THAT(second.err, HasSubstr("is in use by process"));
  const Finished beside = run(run_arguments(scratch_ / "second.json", store, 1));
  EXPECT_EQ(beside.exit_code, 2) << "quench run on the service's store";
}

}  // namespace
}  // namespace quench::testing
