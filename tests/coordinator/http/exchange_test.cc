#include "coordinator/http/exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "coordinator/http/access.h"
#include "coordinator/http/client.h"
#include "coordinator/http/events.h"
#include "coordinator/http/paths.h"

namespace quench::coordinator {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

HttpRequest parsed(std::string_view target) {
  HttpRequest request;
  request.method = "GET";
  parse_target(target, request);
  return request;
}

unsigned status_of(std::string_view target) {
  try {
    parsed(target);
  } catch (const HttpProblem& problem) {
    return problem.status();
  }
  return 200;
}

TEST(HttpTarget, TakesPathAndQueryApart) {
  const HttpRequest request = parsed("/v1/artifacts/org%2Fmodel:tag?a=1&b=x+y%26z&flag");
  EXPECT_THAT(request.segments, ElementsAre("v1", "artifacts", "org/model:tag"));
  EXPECT_THAT(request.query, ElementsAre(Pair("a", "1"), Pair("b", "x y&z"), Pair("flag", "")));
  EXPECT_EQ(parsed("/").segments.size(), 0u);
  EXPECT_EQ(parsed("/v1/names/" + escape_segment("org/model:tag")).segments.back(), "org/model:tag");
}

TEST(HttpTarget, RefusesTricks) {
  for (const char* target :
       {"", "v1", "*", "http://host/v1", "/..", "/v1/../x", "/%2e%2e/x", "/v1/./x", "/v1//x", "/v1/", "/%", "/%4", "/%zz",
        "/a%00b", "/a%0d%0ab", "/v1?x=%00", "/a\x7f", "/v1#x"})
    EXPECT_EQ(status_of(target), 400u) << target;
}

TEST(Routes, AreDistinctAndDocumented) {
  std::set<std::string> names, paths;
  const std::string document = openapi_json();
  for (const Route& route : routes()) {
    EXPECT_TRUE(names.insert(route.name).second) << route.name;
    if (route.port != Port::http) {
      EXPECT_THAT(document, testing::Not(HasSubstr("\"operationId\": \"" + std::string(route.name) + "\"")));
      continue;
    }
    EXPECT_TRUE(paths.insert(std::string(route.method) + route.path).second) << route.path;
    EXPECT_THAT(document, HasSubstr("\"operationId\": \"" + std::string(route.name) + "\""));
    EXPECT_THAT(document, HasSubstr("\"" + std::string(route.path) + "\""));
    for (const std::string& type : {std::string(route.request), std::string(route.reply)}) {
      if (type.empty() || type.find('/') != std::string::npos) continue;
      EXPECT_THAT(document, HasSubstr("      \"" + type + "\": {")) << "the schema is missing";
    }
    if (std::string_view(route.method) == "GET") continue;
    EXPECT_GT(route.scope, Scope::read) << route.path << " changes something";
  }
}

TEST(Routes, UnknownPathsAndMethodsAreTold) {
  HttpRequest request = parsed("/v1/jobs/7");
  EXPECT_STREQ(match_route(request).route->name, "show_job");
  EXPECT_EQ(match_route(request).parameters.at("id"), "7");
  request.method = "PATCH";
  try {
    match_route(request);
    ADD_FAILURE();
  } catch (const HttpProblem& problem) {
    EXPECT_EQ(problem.status(), 405u);
    EXPECT_THAT(problem.what(), HasSubstr("GET"));
  }
  EXPECT_THROW(match_route(parsed("/v2/jobs")), HttpProblem);
}

TEST(Tokens, AreKnownByTheirSecretUntilTheyEnd) {
  AccessTable table(1000, {});
  const NewToken token = make_token({"alice", {"read", "submit"}, 2}, 1'000);
  EXPECT_EQ(token.changed.hash, sha256(token.secret.substr(token.secret.size() - 64)));
  table.apply(token.changed);
  const HttpPeer stranger{false, 0, "10.0.0.1:1"};
  const Caller caller = table.identify(stranger, "Bearer " + token.secret, 2'000);
  EXPECT_EQ(caller.user, "alice");
  EXPECT_TRUE(caller.scopes.has(Scope::submit));
  EXPECT_FALSE(caller.scopes.has(Scope::publish));
  const auto reason = [&](const std::string& authorization, std::int64_t now) -> std::string {
    try {
      table.identify(stranger, authorization, now);
    } catch (const HttpProblem& problem) {
      EXPECT_EQ(problem.status(), 401u);
      return problem.what();
    }
    return "(known)";
  };
  std::string wrong = token.secret;
  wrong.back() = wrong.back() == '0' ? '1' : '0';
  EXPECT_THAT(reason("", 2'000), HasSubstr("no token"));
  EXPECT_THAT(reason("Basic YTpi", 2'000), HasSubstr("expected"));
  EXPECT_THAT(reason("Bearer x", 2'000), HasSubstr("no token of a Quench service"));
  EXPECT_THAT(reason("Bearer " + wrong, 2'000), HasSubstr("does not know"));
  EXPECT_THAT(reason("Bearer " + token.secret + "0", 2'000), HasSubstr("does not know"));
  EXPECT_THAT(reason("Bearer " + token.secret, 1'000 + 2 * 86'400'000), HasSubstr("expired"));
  table.apply(table.revocation(token.changed.id, "root", 3'000));
  EXPECT_THAT(reason("Bearer " + token.secret, 4'000), HasSubstr("revoked"));
  EXPECT_THROW(table.revocation(token.changed.id, "root", 5'000), HttpProblem);
  EXPECT_THROW(table.revocation("000000000000", "root", 5'000), HttpProblem);
}

TEST(Tokens, BadRequestsAreTold) {
  EXPECT_THROW(make_token({"", {"read"}, 1}, 0), Error);
  EXPECT_THROW(make_token({"a\nb", {"read"}, 1}, 0), Error);
  EXPECT_THROW(make_token({"alice", {}, 1}, 0), Error);
  EXPECT_THROW(make_token({"alice", {"all"}, 1}, 0), Error);
  EXPECT_THROW(make_token({"alice", {"open"}, 1}, 0), Error);
  EXPECT_THROW(make_token({"alice", {"read"}, 0}, 0), Error);
}

TEST(LocalUsers, HaveTheirScopes) {
  const AccessTable table(1000, {{"root", {"read"}}, {"*", {"read", "submit"}}});
  EXPECT_TRUE(table.identify({true, 1000, ""}, "", 0).scopes.has(Scope::admin)) << "the service's own user";
  EXPECT_TRUE(table.identify({true, 0, ""}, "", 0).scopes.has(Scope::admin)) << "root";
  const Caller other = table.identify({true, 4242, ""}, "", 0);
  EXPECT_TRUE(other.scopes.has(Scope::submit));
  EXPECT_FALSE(other.scopes.has(Scope::admin));
  EXPECT_EQ(other.user, "uid4242");
  EXPECT_THROW(AccessTable(1000, {{"nobody-of-that-name", {"read"}}}), Error);
  EXPECT_THROW(AccessTable(1000, {{"*", {"everything"}}}), Error);
}

TEST(Events, EachWatcherReadsAtItsOwnPace) {
  EventHub hub;
  hub.publish("job", 1, "{\"before\":1}");
  const auto all = hub.feed(std::nullopt, std::nullopt), one = hub.feed(2, std::nullopt);
  EXPECT_EQ(all->take(), "retry: 2000\n\n");
  int woken = 0;
  all->wait([&] { ++woken; });
  all->wait([&] { ++woken; });
  hub.publish("job", 1, "{}");
  hub.publish("log", 2, "{\"text\":\"x\"}");
  EXPECT_EQ(woken, 1) << "once, and only when it waits";
  EXPECT_EQ(all->take(), "id: 2\nevent: job\ndata: {}\n\nid: 3\nevent: log\ndata: {\"text\":\"x\"}\n\n");
  EXPECT_EQ(all->take(), "");
  EXPECT_EQ(one->take(), "retry: 2000\n\nid: 3\nevent: log\ndata: {\"text\":\"x\"}\n\n");
  EXPECT_THAT(hub.feed(std::nullopt, 2)->take(), HasSubstr("id: 3")) << "where it left off";
  EXPECT_EQ(hub.feed(1, std::nullopt, "{\"id\":1}")->take(), "retry: 2000\n\nevent: job\ndata: {\"id\":1}\n\n");
  EXPECT_THAT(hub.feed(std::nullopt, 99)->take(), testing::Not(HasSubstr("id: "))) << "an id of an earlier service";
}

TEST(Events, TheSlowAreToldWhatTheyMissed) {
  EventHub hub;
  const auto feed = hub.feed(std::nullopt, std::nullopt);
  for (std::size_t i = 0; i < EventHub::kEventsMax + 10; ++i) hub.publish("job", 1, "{}");
  EXPECT_THAT(feed->take(), HasSubstr("event: lost\ndata: {\"events\":10}\n\nid: 11\n"));
  const std::string large(1 << 20, 'x');
  for (int i = 0; i < 20; ++i) hub.publish("job", 1, large);
  std::size_t bytes = 0;
  for (std::string text = feed->take(); !text.empty(); text = feed->take()) bytes += text.size();
  EXPECT_LE(bytes, EventHub::kBytesMax + large.size());
}

TEST(ServiceAddress, IsParsed) {
  EXPECT_EQ(ServiceAddress::parse("unix:///s/http.sock").to_string(), "unix:///s/http.sock");
  EXPECT_EQ(ServiceAddress::parse("https://host").to_string(), "https://host:443");
  EXPECT_EQ(ServiceAddress::parse("http://127.0.0.1:8080/").to_string(), "http://127.0.0.1:8080");
  EXPECT_EQ(ServiceAddress::parse("https://[::1]:9").host, "::1");
  for (const char* url : {"", "host:80", "ftp://x", "unix://relative", "http://", "http://h:x", "https://h/path", "https://u@h"})
    EXPECT_THROW(ServiceAddress::parse(url), Error) << url;
}

}  // namespace
}  // namespace quench::coordinator
