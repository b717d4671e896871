// Artifacts between a store and a service over TLS: only what is missing travels, what is cut short goes on, what is changed on
// its way or not allowed leaves nothing behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <random>
#include <thread>

#include "tests/integration/small_job.h"

namespace quench::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using nlohmann::json;

class NetworkTransfer : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch_ = new ScratchDirectory;
    ASSERT_EQ(run({"openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
                   "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", *scratch_ / "key.pem", "-out", *scratch_ / "cert.pem"})
                  .exit_code,
              0);
    json job = small_job();
    write_text(*scratch_ / "job.json", job.dump());
    const Finished finished = run(run_arguments(*scratch_ / "job.json", *scratch_ / "near", 1));
    ASSERT_EQ(finished.exit_code, 0) << finished.err;
    name_ = "small/" + json::parse(finished.out)["artifacts"][2]["name"].get<std::string>();
  }
  static void TearDownTestSuite() {
    delete scratch_;
    scratch_ = nullptr;
  }
  void start_service() {
    write_text(here_ / "serve.json", json{{"store", (here_ / "far").string()}, {"listen", "127.0.0.1:0"}, {"allowedPaths", {(here_ / "models").string()}},
                                          {"tlsCertificate", (*scratch_ / "cert.pem").string()}, {"tlsKey", (*scratch_ / "key.pem").string()}}
                                         .dump());
    service_ = std::make_unique<Running>(std::vector<std::string>{quench_program(), "serve", "--config", here_ / "serve.json"}, Environment{},
                                         here_ / "err.txt");
    for (int i = 0; i < 600 && run({quench_program(), "status", "--store", here_ / "far"}).exit_code != 0; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    const std::string said = read_text(here_ / "err.txt");
    const std::size_t at = said.rfind("https://127.0.0.1:");
    ASSERT_NE(at, std::string::npos) << said;
    url_ = said.substr(at, said.find('\n', at) - at);
  }
  std::string token(const std::string& scopes) {
    const Finished made = run({quench_program(), "token", "create", "--user", "alice", "--scope", scopes, "--store", here_ / "far"});
    EXPECT_EQ(made.exit_code, 0) << made.err;
    return made.out.substr(0, made.out.find('\n'));
  }
  Environment environment(const std::string& secret) const { return {{"QUENCH_TOKEN", secret}, {"QUENCH_CA_FILE", *scratch_ / "cert.pem"}}; }
  static std::vector<std::string> command(std::vector<std::string> words, const fs::path& store) {
    words.insert(words.begin(), {quench_program(), "artifacts"});
    words.insert(words.end(), {"--store", store.string()});
    return words;
  }
  Finished push(const std::string& secret, const std::vector<std::string>& more = {}) {
    std::vector<std::string> words = {"push", name_, "--to", url_, "--json"};
    words.insert(words.end(), more.begin(), more.end());
    return run(command(words, *scratch_ / "near"), environment(secret));
  }
  static std::string digest(const fs::path& store, const std::string& name) {
    const Finished listed = run(command({"ls", "--json"}, store));
    for (const json& one : json::parse(listed.out))
      if (one["name"] == name) return one["digest"];
    return "none";
  }

  inline static const ScratchDirectory* scratch_ = nullptr;
  inline static std::string name_;
  ScratchDirectory here_;
  std::unique_ptr<Running> service_;
  std::string url_;
};

TEST_F(NetworkTransfer, WhatIsMissingTravelsOnceAndComesBackTheSame) {
  start_service();
  const std::string secret = token("read,publish");
  const Finished pushed = push(secret);
  ASSERT_EQ(pushed.exit_code, 0) << pushed.err;
  const json first = json::parse(pushed.out);
  EXPECT_GT(first["chunks_copied"], 0);
  EXPECT_EQ(first["chunks_copied"], first["chunks"]);
  const json again = json::parse(push(secret, {"--as", "lab/again:v1"}).out);
  EXPECT_EQ(again["chunks_copied"], 0);
  EXPECT_EQ(digest(here_ / "far", name_), digest(*scratch_ / "near", name_));
  EXPECT_EQ(digest(here_ / "far", "lab/again:v1"), digest(*scratch_ / "near", name_));
  EXPECT_EQ(run(command({"verify"}, here_ / "far")).exit_code, 0);

  // Into a store that is not there yet, and through the service that holds one.
  const Finished pulled = run(command({"pull", "lab/again:v1", "--from", url_}, here_ / "third"), environment(secret));
  ASSERT_EQ(pulled.exit_code, 0) << pulled.err;
  EXPECT_EQ(digest(here_ / "third", "lab/again:v1"), digest(*scratch_ / "near", name_));
  EXPECT_EQ(run(command({"verify"}, here_ / "third")).exit_code, 0);
  const Finished held = run(command({"push", "lab/again:v1", "--to", url_, "--as", "lab/held:v1"}, here_ / "far"), environment(secret));
  EXPECT_EQ(held.exit_code, 0) << held.err;
  EXPECT_EQ(digest(here_ / "far", "lab/held:v1"), digest(*scratch_ / "near", name_));
  // Who made it so is in the audit log.
  const Finished audit = run({"python3", "-c",
                              "import http.client, socket, sys\n"
                              "c = http.client.HTTPConnection('localhost'); c.sock = socket.socket(socket.AF_UNIX); c.sock.connect(sys.argv[1])\n"
                              "c.request('GET', '/v1/audit'); print(c.getresponse().read().decode())",
                              here_ / "far" / "http.sock"});
  EXPECT_THAT(audit.out, HasSubstr("lab/again:v1"));
  EXPECT_THAT(audit.out, HasSubstr("alice"));
}

TEST_F(NetworkTransfer, NobodysNameIsTakenAndNoScopeIsExceeded) {
  start_service();
  const std::string reader = token("read"), publisher = token("read,publish");
  const Finished refused = push(reader);
  EXPECT_EQ(refused.exit_code, 3) << refused.out;
  EXPECT_THAT(refused.err, HasSubstr("publish"));
  EXPECT_EQ(push("quench_made_up").exit_code, 3);
  EXPECT_EQ(digest(here_ / "far", name_), "none");
  ASSERT_EQ(push(publisher, {"--as", "lab/mine:v1"}).exit_code, 0);
  std::vector<std::string> other = command({"push", "small/int8", "--to", url_, "--as", "lab/mine:v1"}, *scratch_ / "near");
  const Finished taken = run(other, environment(publisher));
  EXPECT_EQ(taken.exit_code, 2) << taken.out;
  EXPECT_THAT(taken.err, HasSubstr("taken"));
  EXPECT_EQ(digest(here_ / "far", "lab/mine:v1"), digest(*scratch_ / "near", name_));
  EXPECT_EQ(run(command({"push", name_, "--to", "https://127.0.0.1:1"}, *scratch_ / "near"), environment(publisher)).exit_code, 4);
  EXPECT_EQ(run(command({"pull", "lab/nothing:v1", "--from", url_}, here_ / "fourth"), environment(reader)).exit_code, 2);
}

// A request of somebody who does not mean well.
TEST_F(NetworkTransfer, ChunksAndPublishesThatAreNoneAreTold) {
  start_service();
  const std::string secret = token("read,publish");
  const std::string script =
      "import sys, ssl, json, base64, urllib.request, urllib.error\n"
      "url, cert, token = sys.argv[1:]\n"
      "def ask(method, path, body=None):\n"
      "    r = urllib.request.Request(url + path, data=body, method=method, headers={'Authorization': 'Bearer ' + token})\n"
      "    try: return urllib.request.urlopen(r, context=ssl.create_default_context(cafile=cert)).status\n"
      "    except urllib.error.HTTPError as e: return e.code\n"
      "    except urllib.error.URLError as e: return str(e)\n"
      "zeros = '0' * 64\n"
      "print(ask('PUT', '/v1/store/chunks/' + zeros, b'other bytes'),\n"
      "      ask('PUT', '/v1/store/chunks/nothex', b'x'),\n"
      "      ask('PUT', '/v1/store/chunks/' + zeros, b'x' * (17 << 20)),\n"
      "      ask('GET', '/v1/store/chunks/' + zeros),\n"
      "      ask('POST', '/v1/store/claims', b'[]'),\n"
      "      ask('POST', '/v1/store/claims', json.dumps({'digests': ['x']}).encode()),\n"
      "      ask('POST', '/v1/store/publishes', b'{}'),\n"
      "      ask('POST', '/v1/store/publishes', json.dumps({'objects': [{'bytes': base64.b64encode(b'no manifest').decode()}], 'records': [], 'names': []}).encode()),\n"
      "      ask('POST', '/v1/store/publishes', json.dumps({'objects': [], 'records': [{'key': 'run/x', 'bytes': ''}], 'names': []}).encode()),\n"
      "      ask('POST', '/v1/store/publishes', json.dumps({'objects': [], 'records': [], 'names': [{'name': 'a/b:c', 'digest': zeros}]}).encode()),\n"
      "      ask('POST', '/v1/jobs', b' ' * (2 << 20)))\n";
  const Finished asked = run({"python3", "-c", script, url_, *scratch_ / "cert.pem", secret});
  // A manifest that does not decode is damage, told as such.
  EXPECT_THAT(asked.out, ::testing::MatchesRegex("400 400 413 404 400 400 400 [45]00 400 400 413\n")) << asked.err;
  EXPECT_EQ(json::parse(run(command({"ls", "--json"}, here_ / "far")).out).size(), 0u);
}

// Two labs push different artifacts to one name at once: one has it, the other is told, and what the other brought is there for
// another name.
TEST_F(NetworkTransfer, OfTwoLabsThatPushToOneNameOneWins) {
  start_service();
  const std::string secret = token("read,publish");
  const std::vector<std::string> labs = {name_, "small/int8"};
  const int rounds = std::getenv("QUENCH_FAULTS_FULL") != nullptr ? 500 : 4;
  for (int round = 0; round < rounds && !HasFailure(); ++round) {
    const std::string wanted = "lab/race:v" + std::to_string(round);
    std::vector<fs::path> said;
    std::vector<int> codes;
    {
      std::vector<std::unique_ptr<Running>> pushes;
      for (std::size_t lab = 0; lab < labs.size(); ++lab) {
        // A store each, as a store has one owner.
        const fs::path store = here_ / ("near-" + std::to_string(lab));
        if (!fs::exists(store))
          for (const char* part : {"catalog", "chunks", "HEAD"}) {
            fs::create_directories(store);
            fs::copy(*scratch_ / "near" / part, store / part, fs::copy_options::recursive);
          }
        said.push_back(here_ / ("said-" + std::to_string(lab)));
        pushes.push_back(std::make_unique<Running>(command({"push", labs[lab], "--to", url_, "--as", wanted}, store), environment(secret), said.back()));
      }
      for (const std::unique_ptr<Running>& push : pushes) codes.push_back(push->wait());
    }
    const std::size_t winner = codes[0] == 0 ? 0 : 1;
    EXPECT_EQ(codes[winner], 0) << read_text(said[0]) << read_text(said[1]);
    EXPECT_EQ(codes[1 - winner], 2) << read_text(said[1 - winner]);
    EXPECT_THAT(read_text(said[1 - winner]), ::testing::AnyOf(HasSubstr("is taken"), HasSubstr("somebody else changed it meanwhile")));
    EXPECT_EQ(digest(here_ / "far", wanted), digest(*scratch_ / "near", labs[winner]));
  }
  for (std::size_t lab = 0; lab < labs.size(); ++lab) {
    const Finished other = run(command({"push", labs[lab], "--to", url_, "--as", "lab/other:v" + std::to_string(lab), "--json"}, *scratch_ / "near"), environment(secret));
    EXPECT_EQ(json::parse(other.out)["chunks_copied"], 0) << "nothing was lost";
  }
  EXPECT_EQ(run(command({"verify"}, here_ / "far")).exit_code, 0);
}

TEST_F(NetworkTransfer, WhatIsCutShortGoesOnWithWhatIsMissing) {
  start_service();
  std::mt19937 random(7);
  const std::string secret = token("read,publish");
  int cut = 0;
  const int attempts = std::getenv("QUENCH_FAULTS_FULL") != nullptr ? 100 : 6;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    Running pusher(command({"push", name_, "--to", url_, "--as", "lab/cut:v1"}, *scratch_ / "near"), environment(secret), here_ / "push.txt");
    std::this_thread::sleep_for(std::chrono::milliseconds(20 + random() % 150));
    // By turns the one and the other.
    if (attempt % 2 == 0) {
      pusher.kill(SIGKILL);
      pusher.wait();
    } else {
      service_->kill(SIGKILL);
      service_->wait();
      pusher.kill(SIGKILL);
      pusher.wait();
      start_service();
    }
    if (digest(here_ / "far", "lab/cut:v1") == "none") ++cut;
    EXPECT_EQ(run(command({"verify"}, here_ / "far")).exit_code, 0) << attempt;
  }
  RecordProperty("cut_short", cut);
  const Finished done = push(secret, {"--as", "lab/cut:v1"});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  EXPECT_EQ(digest(here_ / "far", "lab/cut:v1"), digest(*scratch_ / "near", name_));
  EXPECT_EQ(run(command({"verify"}, here_ / "far")).exit_code, 0);
}

}  // namespace
}  // namespace quench::testing
