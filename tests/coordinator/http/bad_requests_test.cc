// What hostile, broken and unlucky clients get from a real service.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdlib>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>

#include "schemas/codec.h"
#include "tests/coordinator/http/service_fixture.h"

namespace quench::coordinator {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::StartsWith;
using Clock = std::chrono::steady_clock;

// A client that says what no client should.
class RawClient {
 public:
  explicit RawClient(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
    const timeval deadline{10, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
    ::setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline);
  }
  ~RawClient() { ::close(socket_); }
  bool say(std::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = ::send(socket_, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  void end_of_speech() { ::shutdown(socket_, SHUT_WR); }
  // Until the service closes.
  std::string hear() {
    std::string text;
    char piece[4096];
    ssize_t got = 0;
    while ((got = ::recv(socket_, piece, sizeof piece, 0)) > 0) text.append(piece, static_cast<std::size_t>(got));
    EXPECT_EQ(got == 0 || errno == ECONNRESET, true) << "the service left the connection open";
    return text;
  }

 private:
  int socket_;
};

std::string token_of(RunningService& service) {
  return service.on_loop([](Daemon& daemon) { return daemon.create_token({"alice", {"read", "submit"}, 1}, "test"); }).secret;
}

std::string job_json(const std::string& name = "job") {
  return json{{"name", name}, {"model", QUENCH_SOURCE_DIR "/tests/fixtures/stories260k"}, {"quantize", {{{"method", "int8"}}}}}.dump();
}

TEST(BadRequests, WhatIsNoHttpIsTold) {
  RunningService service;
  for (const char* text : {"GET\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
                           "GET /healthz HTTP/1.1\r\nContent-Length: x\r\n\r\n", "GET /healthz HTTP/1.1\r\nBad Header: 1\r\n\r\n",
                           "POST /v1/jobs HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"}) {
    RawClient client(service.port());
    client.say(text);
    const std::string answer = client.hear();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 400 ")) << text;
    EXPECT_THAT(answer, HasSubstr("\"code\":\"bad_request\"")) << text;
  }
  EXPECT_EQ(http_request(service.local(), "GET", "/healthz").status, 200u);
}

TEST(BadRequests, SizesAreBoundedBeforeTheyAreRead) {
  RunningService service;
  {
    RawClient client(service.port());
    client.say("POST /v1/jobs HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n");
    EXPECT_THAT(client.hear(), HasSubstr("413"));
  }
  {
    RawClient client(service.port());
    client.say("GET /healthz HTTP/1.1\r\nX: " + std::string(100'000, 'x') + "\r\n\r\n");
    EXPECT_THAT(client.hear(), HasSubstr("431"));
  }
  const HttpAnswer answer = http_request(service.local(), "POST", "/v1/jobs", std::string(2u << 20, ' '));
  EXPECT_EQ(answer.status, 413u);
  EXPECT_THAT(answer.body, HasSubstr("the body is larger than 1048576 bytes"));
}

TEST(BadRequests, ASlowClientIsLeftAtItsDeadline) {
  HttpLimits limits;
  limits.request_ms_max = std::chrono::milliseconds(400);
  RunningService service({}, limits);
  const auto start = Clock::now();
  RawClient client(service.port());
  client.say("GET /healthz HTTP/1.1\r\nX");
  EXPECT_EQ(client.hear(), "");
  EXPECT_LT(Clock::now() - start, std::chrono::seconds(5));
}

TEST(BadRequests, ConnectionsAreBounded) {
  HttpLimits limits;
  limits.connections_max = 4;
  RunningService service({}, limits);
  std::vector<std::unique_ptr<RawClient>> idle;
  for (int i = 0; i < 4; ++i) {
    idle.push_back(std::make_unique<RawClient>(service.port()));
    idle.back()->say("GET ");
  }
  RawClient beyond(service.port());
  beyond.say("GET /healthz HTTP/1.1\r\n\r\n");
  EXPECT_EQ(beyond.hear(), "");
  idle.clear();
  for (int tries = 0;; ++tries) {  // their coroutines notice one after the other
    ASSERT_LT(tries, 100);
    try {
      if (http_request(service.local(), "GET", "/healthz").status == 200) break;
    } catch (const Error&) {
    }
    std::this_thread::yield();
  }
}

TEST(BadRequests, AWatcherThatNeverReadsIsLeft) {
  HttpLimits limits;
  limits.write_ms_max = std::chrono::milliseconds(300);
  RunningService service({}, limits);
  RawClient client(service.port());
  client.say("GET /v1/events HTTP/1.1\r\nAuthorization: Bearer " + token_of(service) + "\r\n\r\n");
  const auto deadline = Clock::now() + std::chrono::seconds(20);
  const std::string large(1u << 20, 'x');
  std::string metrics;
  do {
    service.on_loop([&](Daemon& daemon) { daemon.events()->publish("log", 1, large); return 0; });
    metrics = http_request(service.local(), "GET", "/metrics").body;
    ASSERT_LT(Clock::now(), deadline) << metrics;
  } while (metrics.find("quench_http_connections 1\n") == std::string::npos);  // ours that asks
}

TEST(BadRequests, BadJobsNameEveryMistake) {
  RunningService service;
  const auto refused = [&](const std::string& body, unsigned status = 400) {
    const HttpAnswer answer = http_request(service.local(), "POST", "/v1/jobs", body);
    EXPECT_EQ(answer.status, status) << answer.body;
    return json::parse(answer.body).value("message", "");
  };
  EXPECT_THAT(refused(""), HasSubstr("line 1"));
  EXPECT_THAT(refused("{\"model\": \"/m\", \"model\": \"/n\", \"colour\": 1}"), HasSubstr("/colour"));
  EXPECT_THAT(refused(std::string(100'000, '[')), HasSubstr("nested deeper"));
  EXPECT_THAT(refused(R"({"model": "/no/such/model"})"), HasSubstr("/no/such/model"));
  EXPECT_THAT(refused(json{{"model", QUENCH_SOURCE_DIR "/tests/fixtures/stories260k"}, {"ranks", 5}}.dump(), 422),
              HasSubstr("asks for 5 ranks and this service has 1"));
  const HttpAnswer priority = http_request(service.local(), "POST", "/v1/jobs?priority=high", job_json());
  EXPECT_EQ(priority.status, 400u);
  EXPECT_THAT(priority.body, HasSubstr("from -1000 to 1000"));
  EXPECT_THAT(http_request(service.local(), "POST", "/v1/jobs?after=1,x", job_json()).body, HasSubstr("after \\\"x\\\": expected a whole number"));
  EXPECT_EQ(http_request(service.local(), "POST", "/v1/jobs?after=99", job_json()).status, 404u);
}

TEST(BadRequests, ModelsLieWhereTheyMay) {
  ServeConfig config;
  config.allowed_paths = {QUENCH_SOURCE_DIR "/tests/fixtures/jobs"};
  RunningService service(config);
  const HttpAnswer outside = http_request(service.local(), "POST", "/v1/jobs", job_json());
  EXPECT_EQ(outside.status, 400u);
  EXPECT_THAT(outside.body, HasSubstr("is not where this service reads"));
  json sneaky = json::parse(job_json());
  sneaky["model"] = QUENCH_SOURCE_DIR "/tests/fixtures/jobs/../stories260k";
  EXPECT_EQ(http_request(service.local(), "POST", "/v1/jobs", sneaky.dump()).status, 400u);
  std::filesystem::create_symlink(QUENCH_SOURCE_DIR "/tests/fixtures/stories260k", service.folder() / "link");
  sneaky["model"] = service.folder() / "link";
  EXPECT_EQ(http_request(service.local(), "POST", "/v1/jobs", sneaky.dump()).status, 400u);
}

TEST(BadRequests, AFullQueueAndAQuotaAreTold) {
  ServeConfig config;
  config.gangs_max = 0;  // nothing starts
  config.queued_max = 2;
  config.jobs_per_user_max = 1;
  RunningService service(config);
  const std::string token = token_of(service);
  const auto submit = [&](const ServiceAddress& to) { return http_request(to, "POST", "/v1/jobs", job_json()); };
  const HttpAnswer first = submit(service.tcp(token));
  EXPECT_EQ(first.status, 201u) << first.body;
  const json view = json::parse(first.body);
  EXPECT_EQ(view["state"], "queued");
  EXPECT_EQ(view["place"], 1);
  EXPECT_EQ(view["user"], "alice");
  EXPECT_NE(view["reason"], "");
  EXPECT_EQ(submit(service.tcp(token)).status, 429u);
  EXPECT_EQ(submit(service.local()).status, 201u);
  const std::string bob = service.on_loop([](Daemon& daemon) { return daemon.create_token({"bob", {"submit"}, 1}, "t"); }).secret;
  const HttpAnswer full = submit(service.tcp(bob));
  EXPECT_EQ(full.status, 503u);
  EXPECT_EQ(json::parse(full.body)["code"], "queue_full");
  // His own, and nobody else's.
  EXPECT_EQ(http_request(service.tcp(bob), "POST", "/v1/jobs/1/cancel").status, 403u);
  EXPECT_EQ(http_request(service.tcp(token), "POST", "/v1/jobs/1/cancel", R"({"why": "x"})").status, 400u);
  EXPECT_EQ(http_request(service.tcp(token), "POST", "/v1/jobs/1/cancel", R"({"reason": "x"})").status, 200u);
  EXPECT_EQ(http_request(service.tcp(token), "POST", "/v1/jobs/1/cancel").status, 409u);
  EXPECT_EQ(http_request(service.tcp(token), "POST", "/v1/jobs?priority=1", job_json()).status, 403u);
}

TEST(BadRequests, BytesBeyondAUsersShareAreRefused) {
  ServeConfig config;
  config.gangs_max = 0;  // nothing starts
  config.bytes_per_user_max = 3'000'000;
  RunningService service(config);
  const std::string token = token_of(service);
  const auto submit = [&](const char* name) {
    json job = json::parse(job_json());
    job["name"] = name;
    job["baseline"] = true;  // as large as the model, about a megabyte
    return http_request(service.tcp(token), "POST", "/v1/jobs", job.dump());
  };
  const auto bytes = [&] { return json::parse(http_request(service.tcp(token), "GET", "/v1/whoami").body).value("bytes", std::uint64_t{0}); };
  EXPECT_EQ(bytes(), 0u);
  const HttpAnswer first = submit("one");
  ASSERT_EQ(first.status, 201u) << first.body;
  const std::uint64_t planned = bytes();
  EXPECT_GT(planned, 1'000'000u);
  HttpAnswer refused;
  for (int more = 0; more < 4 && refused.status != 429; ++more) refused = submit(("more" + std::to_string(more)).c_str());
  EXPECT_EQ(refused.status, 429u);
  EXPECT_EQ(json::parse(refused.body)["code"], "quota");
  EXPECT_THAT(refused.body, HasSubstr("more planned by jobs that wait or work"));
  EXPECT_LE(bytes(), 3'000'000u);
  // What is uploaded counts until it is published.
  const std::string chunk(900'000, 'q');
  const auto put = [&](const std::string& body) {
    return http_request(service.local(), "PUT", "/v1/store/chunks/" + sha256(body).hex(), body);
  };
  EXPECT_EQ(put(chunk).status, 200u) << "another user's share";
  EXPECT_EQ(put(chunk + "1").status, 200u);
  EXPECT_EQ(put(chunk + "2").status, 200u);
  const HttpAnswer full = put(chunk + "3");
  EXPECT_EQ(full.status, 429u) << full.body;
  EXPECT_EQ(put(chunk).status, 200u) << "it is there";
  // A cancelled job plans nothing any more.
  EXPECT_EQ(http_request(service.tcp(token), "POST", "/v1/jobs/1/cancel").status, 200u);
  EXPECT_EQ(submit("again").status, 201u);
}

TEST(BadRequests, AJobThatCannotBeginFailsWithItsReason) {
  RunningService service;  // its worker program does not exist
  EXPECT_EQ(http_request(service.local(), "POST", "/v1/jobs", job_json()).status, 201u);
  json detail;
  for (int tries = 0; tries < 2000; ++tries) {
    detail = json::parse(http_request(service.local(), "GET", "/v1/jobs/1").body);
    if (detail["job"]["state"] == "failed") break;
    std::this_thread::yield();
  }
  EXPECT_EQ(detail["job"]["state"], "failed");
  EXPECT_THAT(detail["job"]["reason"].get<std::string>(), HasSubstr("quench-worker"));
  EXPECT_EQ(detail["job"]["error_code"], "bad_input");
  EXPECT_EQ(detail["history"].size(), 4u) << "submitted, started, model read, failed";
}

// Whole requests and pieces of them, changed at random: each is answered or the connection is closed, and the service
// goes on. QUENCH_FUZZ_INPUTS=N tries more.
TEST(BadRequests, MutatedRequestsDoNoHarm) {
  RunningService service;
  const std::string token = token_of(service);
  const std::string seeds[] = {
      "GET /v1/jobs?state=queued&limit=5 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\n\r\n",
      "POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\nContent-Length: 15\r\n\r\n{\"model\": \"/m\"}",
      "POST /v1/jobs/1/cancel HTTP/1.1\r\nTransfer-Encoding: chunked\r\nAuthorization: Bearer " + token +
          "\r\n\r\n10\r\n{\"reason\": \"abc\"}\r\n0\r\n\r\n",
      "GET /v1/artifacts/a%2Fb HTTP/1.1\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.1\r\n\r\n",
      "DELETE /v1/tokens/0123456789ab HTTP/1.0\r\n\r\n",
  };
  const char* const more = std::getenv("QUENCH_FUZZ_INPUTS");
  const int inputs = more == nullptr ? 1500 : std::atoi(more);
  std::mt19937 random(11);
  int answered = 0;
  for (int i = 0; i < inputs; ++i) {
    std::string text = seeds[random() % std::size(seeds)];
    for (std::uint32_t changes = random() % 6; changes > 0; --changes) {
      const std::size_t at = random() % text.size();
      switch (random() % 4) {
        case 0: text[at] = static_cast<char>(random()); break;
        case 1: text.erase(at, 1 + random() % 8); break;
        case 2: text.insert(at, text.substr(random() % text.size(), random() % 40)); break;
        case 3: text.insert(at, std::string(1 + random() % 3, "\r\n\0 %{/"[random() % 7])); break;
      }
      if (text.empty()) text = "x";
    }
    RawClient client(service.port());
    client.say(text);
    client.end_of_speech();
    const std::string answer = client.hear();
    if (!answer.empty()) {
      ++answered;
      EXPECT_THAT(answer, StartsWith("HTTP/1.")) << i;
      EXPECT_THAT(answer.substr(0, 14), testing::Not(HasSubstr(" 500"))) << i << answer;
    }
  }
  EXPECT_GT(answered, inputs / 4);
  EXPECT_EQ(http_request(service.local(), "GET", "/healthz").status, 200u);
}

TEST(BadRequests, TwoServicesOnOneStoreAreRefused) {
  RunningService service;
  DaemonOptions options;
  options.config.store = service.folder() / "store";
  try {
    const Daemon second(options, answer_store_command);
    ADD_FAILURE() << "it opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_THAT(error.what(), HasSubstr("is in use by process"));
  }
}

}  // namespace
}  // namespace quench::coordinator
