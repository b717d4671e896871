// Every route of HTTP in the table × every kind of caller, against a real service; worker_port_test has the others.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "coordinator/http/paths.h"
#include "schemas/codec.h"
#include "tests/coordinator/http/service_fixture.h"

namespace quench::coordinator {
namespace {

using nlohmann::json;

constexpr const char* kScopeNames[] = {"read", "submit", "publish", "admin"};

class EveryRoute : public testing::TestWithParam<Route> {
 protected:
  static void SetUpTestSuite() {
    service_ = new RunningService;
    for (const char* scope : kScopeNames) tokens_[scope] = create({"read-" + std::string(scope), {scope}, 1}).secret;
    const NewToken revoked = create({"gone", {"admin"}, 1});
    service_->on_loop([&](Daemon& daemon) { daemon.revoke_token(revoked.changed.id, "test"); return 0; });
    tokens_["revoked"] = revoked.secret;
    expired_ = make_token({"late", {"admin"}, 1}, 1'000);  // of 1970
    service_->on_loop([&](Daemon& daemon) { const_cast<AccessTable&>(daemon.access()).apply(expired_.changed); return 0; });
    tokens_["expired"] = expired_.secret;
  }
  static void TearDownTestSuite() {
    delete service_;
    service_ = nullptr;
  }
  static NewToken create(const TokenRequest& request) {
    return service_->on_loop([&](Daemon& daemon) { return daemon.create_token(request, "test"); });
  }
  // The route's path with something for each parameter that is not there.
  static std::string target(const Route& route) {
    std::string path = route.path;
    for (std::size_t open = path.find('{'); open != std::string::npos; open = path.find('{'))
      path.replace(open, path.find('}') - open + 1, "4242");
    return path;
  }
  static HttpAnswer ask(const Route& route, const std::string& token, const std::string& query = {}) {
    const ServiceAddress service = service_->tcp(token);
    const std::string to = target(route) + query;
    if (std::string_view(route.reply) != "text/event-stream") return http_request(service, route.method, to);
    // An idle service would let it wait for the first event.
    service_->on_loop([](Daemon& daemon) { daemon.events()->publish("log", 4242, "{}"); return 0; });
    HttpAnswer refusal;
    if (http_events(service, to, "0", [](const StreamedEvent&) { return false; }, refusal)) refusal.status = 200;
    return refusal;
  }

  static inline RunningService* service_ = nullptr;
  static inline std::map<std::string, std::string> tokens_;
  static inline NewToken expired_;
};

TEST_P(EveryRoute, NeedsAKnownToken) {
  const Route& route = GetParam();
  for (const std::string& token : {std::string(), std::string("quench_000000000000_00"), tokens_["expired"], tokens_["revoked"]}) {
    const HttpAnswer answer = ask(route, token);
    if (route.scope == Scope::open) {
      EXPECT_EQ(answer.status, 200u) << token;
    } else {
      EXPECT_EQ(answer.status, 401u) << token << answer.body;
      EXPECT_EQ(json::parse(answer.body)["code"], "unauthorized");
    }
  }
}

TEST_P(EveryRoute, NeedsItsScope) {
  const Route& route = GetParam();
  for (const std::string scope : kScopeNames) {
    const HttpAnswer answer = ask(route, tokens_[scope]);
    const bool allowed = route.scope == Scope::open || scope == to_string(route.scope) || scope == "admin";
    if (allowed) {
      EXPECT_NE(answer.status, 401u) << scope << answer.body;
      EXPECT_NE(answer.status, 403u) << scope << answer.body;
    } else {
      EXPECT_EQ(answer.status, 403u) << scope << answer.body;
      EXPECT_EQ(json::parse(answer.body)["code"], "forbidden");
    }
  }
}

TEST_P(EveryRoute, RefusesParametersThatItDoesNotHave) {
  const Route& route = GetParam();
  const HttpAnswer answer = ask(route, tokens_["admin"], "?no_such_parameter=1");
  EXPECT_EQ(answer.status, 400u) << answer.body;
  EXPECT_THAT(answer.body, testing::HasSubstr("no_such_parameter"));
}

INSTANTIATE_TEST_SUITE_P(, EveryRoute, testing::ValuesIn(routes_of(Port::http)),
                         [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace quench::coordinator
