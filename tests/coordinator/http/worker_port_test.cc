// Every message of the wire in the table of routes × every kind of peer, on the worker port of a job of a real service. The
// job evaluates an endpoint, so it has no gang: what ranks may not say is asked of the reactor in reactor_test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "cluster/net/handshake.h"
#include "coordinator/routes.h"
#include "tests/cluster/net/net_fixture.h"
#include "tests/coordinator/http/service_fixture.h"
#include "tests/coordinator/messages_by_name.h"
#include "tests/support/script_file.h"

namespace quench::coordinator {
namespace {

using cluster::testing::Mailbox;
using cluster::testing::run_until;
using nlohmann::json;
using testing::HasSubstr;

std::string text_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text(std::istreambuf_iterator<char>(in), {});
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

class EveryMessage : public testing::TestWithParam<Route> {
 protected:
  static void SetUpTestSuite() {
    // It starts a worker of its own, which has nothing to say here.
    silent_worker_ = new ScriptFile("#!/bin/sh\nexec sleep 600\n");
    service_ = new RunningService({}, {}, silent_worker_->path());
    begin("ended");
    ended_secret_ = text_of(join(1) / "secret");
    ASSERT_EQ(http_request(service_->local(), "POST", "/v1/jobs/1/cancel").status, 200u);
    begin("at-work");
    secret_ = text_of(join(2) / "secret");
    ASSERT_NE(secret_, ended_secret_);
    endpoint_ = cluster::Endpoint::parse(text_of(join(2) / "endpoint"));
  }
  static void TearDownTestSuite() {
    delete service_;
    delete silent_worker_;
  }
  static std::filesystem::path join(int job) { return service_->folder() / "store" / ("join-" + std::to_string(job)); }
  static void begin(const std::string& name) {
    const json job = {{"name", name}, {"model", "http://127.0.0.1:9/v1"}, {"modelName", "m"}, {"evaluate", {{{"benchmark", "humaneval"}}}}};
    const HttpAnswer answer = http_request(service_->local(), "POST", "/v1/jobs", job.dump());
    ASSERT_EQ(answer.status, 201u) << answer.body;
    const auto secret = join(json::parse(answer.body).value("id", 0)) / "secret";
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!std::filesystem::exists(secret)) {
      ASSERT_LT(std::chrono::steady_clock::now(), until) << "the job does not begin";
      std::this_thread::yield();
    }
  }

  static Hello hello_of(PeerRole role) {
    Hello hello{.build = "test", .role = role, .rank = {0, role == PeerRole::rank ? 1u : 0u}, .host = "elsewhere", .pid = 1, .isa = "none"};
    return hello;
  }
  // The refusal of whoever says `hello` with that secret.
  std::string refusal(const Hello& hello, const std::string& secret, std::uint32_t attempt) {
    cluster::DialOptions options;
    options.attempt = {attempt};
    options.secret = secret;
    try {
      cluster::dial(loop_, endpoint_, hello, options);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::refused) << error.what();
      return error.what();
    }
    return "";
  }
  // What an evaluation worker that is known hears of it: the text of a refusal, or nothing.
  std::string answer_to(const Message& message) {
    cluster::DialOptions options;
    options.secret = secret_;
    const cluster::Dialed dialed = cluster::dial(loop_, endpoint_, hello_of(PeerRole::evaluator), options);
    Mailbox mailbox;
    dialed.connection->set_handlers(mailbox.handlers());
    dialed.connection->send(message);
    dialed.connection->send(ManifestRequest{"no/such"});  // whoever is not refused gets an answer
    std::string refused;
    EXPECT_TRUE(run_until(loop_, [&] {
      for (const auto& [heard, payload] : mailbox.messages) {
        if (const auto* no = std::get_if<Refused>(&heard)) refused = no->message;
        if (const auto* failed = std::get_if<RequestFailed>(&heard); failed != nullptr && failed->message.find("no/such") != std::string::npos) return true;
      }
      return !refused.empty() || mailbox.closed.has_value();
    })) << "no answer";
    if (refused.empty() && mailbox.closed) refused = mailbox.closed->what();
    return refused;
  }

  static inline RunningService* service_ = nullptr;
  static inline ScriptFile* silent_worker_ = nullptr;
  static inline std::string secret_, ended_secret_;
  static inline cluster::Endpoint endpoint_;
  cluster::Loop loop_;
};

TEST_P(EveryMessage, IsNotTakenFromWhoHasNotSaidWhoHeIs) {
  if (GetParam().scope == Scope::open) GTEST_SKIP() << "it is how one says so";
  if (std::string_view(GetParam().name) == "heartbeat") GTEST_SKIP() << "it reaches nobody: who says nothing else is left at the deadline";
  cluster::Connection connection(loop_, cluster::connect(loop_, endpoint_, std::chrono::seconds(5)), {});
  Mailbox mailbox;
  connection.set_handlers(mailbox.handlers());
  connection.send(message_named(GetParam().name));
  EXPECT_TRUE(run_until(loop_, [&] { return mailbox.closed.has_value(); })) << "the connection stays open";
  for (const auto& [heard, payload] : mailbox.messages) EXPECT_TRUE(std::holds_alternative<Challenge>(heard)) << "it was answered";
}

// The handshake comes before any message, so these are the same for each.
TEST_P(EveryMessage, NeedsASecretThatStillHolds) {
  const Scope scope = GetParam().scope;
  if (scope == Scope::rank || scope == Scope::worker) {
    EXPECT_THAT(refusal(hello_of(PeerRole::rank), "a guess", 1), HasSubstr("no gang"));
    EXPECT_THAT(refusal(hello_of(PeerRole::rank), secret_, 1), HasSubstr("no gang")) << "of evaluation workers";
  }
  const Hello evaluator = hello_of(PeerRole::evaluator);
  EXPECT_THAT(refusal(evaluator, "", 0), HasSubstr("proof"));
  EXPECT_THAT(refusal(evaluator, "a guess", 0), HasSubstr("proof"));
  EXPECT_THAT(refusal(evaluator, ended_secret_, 0), HasSubstr("proof")) << "of a job that has ended";
  EXPECT_THAT(refusal(evaluator, secret_, 1), HasSubstr("no attempt")) << "of another attempt";
  EXPECT_THAT(refusal(hello_of(PeerRole::reader), secret_, 0), HasSubstr("Unix socket"));
}

TEST_P(EveryMessage, IsTakenFromThoseWhomTheTableNames) {
  const Message message = message_named(GetParam().name);
  const bool taken = GetParam().scope == Scope::evaluator || GetParam().scope == Scope::worker;
  EXPECT_EQ(may_send(PeerRole::evaluator, message), taken);
  const std::string answer = answer_to(message);
  if (taken) {
    EXPECT_THAT(answer, testing::Not(HasSubstr("do not send"))) << answer;
  } else {
    EXPECT_THAT(answer, HasSubstr("a message that evaluation workers do not send"));
  }
  EXPECT_EQ(json::parse(http_request(service_->local(), "GET", "/v1/jobs/2").body)["job"]["state"], "running") << "the job goes on";
}

INSTANTIATE_TEST_SUITE_P(, EveryMessage, testing::ValuesIn(routes_of(Port::worker)),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(WorkerPort, EveryMessageOfTheWireHasOneRoute) {
  std::set<std::string> names;
  for (const Route& route : routes_of(Port::worker)) EXPECT_TRUE(names.insert(route.name).second) << route.name;
  EXPECT_EQ(names.size(), std::variant_size_v<Message>);
}

}  // namespace
}  // namespace quench::coordinator
