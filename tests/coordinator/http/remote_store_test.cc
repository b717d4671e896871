// What a store far away may send that is not what it was asked for: nothing of it is published here, and each is told.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "coordinator/http/remote_store.h"
#include "coordinator/trust/base64.h"
#include "schemas/codec.h"
#include "tests/coordinator/http/service_fixture.h"
#include "tests/coordinator/store/store_fixture.h"

namespace quench::coordinator {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

std::string reply(const std::string& body, int status = 200) {
  return "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Length: " + std::to_string(body.size()) + "\r\nConnection: close\r\n\r\n" + body;
}

// Answers each request with whatever `say` makes of its target; where that is nothing, not at all.
class Peer {
 public:
  explicit Peer(std::function<std::string(const std::string& target)> say) : say_(std::move(say)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<const sockaddr*>(&here), sizeof here), 0);
    EXPECT_EQ(::listen(listener_, 64), 0);
    socklen_t length = sizeof here;
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&here), &length);
    port_ = ntohs(here.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~Peer() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    for (const int silent : silent_) ::close(silent);
    ::close(listener_);
  }
  ServiceAddress address() const { return ServiceAddress::parse("http://127.0.0.1:" + std::to_string(port_)); }
  int requests() const { return requests_; }

 private:
  void serve() {
    for (int client; (client = ::accept(listener_, nullptr, nullptr)) >= 0;) {
      std::string request;
      char piece[4096];
      for (ssize_t got; request.find("\r\n\r\n") == std::string::npos && (got = ::recv(client, piece, sizeof piece, 0)) > 0;)
        request.append(piece, static_cast<std::size_t>(got));
      ++requests_;
      const std::size_t start = request.find(' ') + 1;
      const std::string answer = say_(request.substr(start, request.find(' ', start) - start));
      if (answer.empty()) {
        silent_.push_back(client);
        continue;
      }
      ::send(client, answer.data(), answer.size(), MSG_NOSIGNAL);
      ::shutdown(client, SHUT_WR);
      while (::recv(client, piece, sizeof piece, 0) > 0) {
      }
      ::close(client);
    }
  }

  std::function<std::string(const std::string&)> say_;
  int listener_;
  std::uint16_t port_ = 0;
  std::atomic<int> requests_ = 0;
  std::vector<int> silent_;  // of the thread
  std::thread thread_;
};

constexpr Patience kShort{2, std::chrono::milliseconds(1), std::chrono::seconds(1)};

class RemoteStore : public ::testing::Test {
 protected:
  RemoteStore() {
    TensorRecord tensor;
    tensor.name = "t";
    tensor.chunks = {{sha256(chunk_), chunk_.size()}};
    Manifest manifest;
    manifest.source = sha256("source");
    manifest.tensors = {tensor};
    manifest_ = encode(manifest);
    object_ = {{"digest", sha256(manifest_).hex()}, {"bytes", to_base64(as_text(manifest_))}, {"chunks", {sha256(chunk_).hex()}},
               {"names", {"lab/model:v1"}}, {"records", json::array()}};
  }
  std::string honest(const std::string& target) const {
    if (target.starts_with("/v1/store/refs/")) return reply(json{{"digest", sha256(manifest_).hex()}, {"name", "lab/model:v1"}}.dump());
    if (target.starts_with("/v1/store/objects/")) return reply(object_.dump());
    return reply(std::string(as_text(chunk_)));
  }
  // Pulls from a peer that is honest but where the target starts with `where`, and gives the error; nothing may be published.
  Error pulled(const std::string& where, const std::string& answer) {
    const Peer peer([&](const std::string& target) { return target.starts_with(where) ? answer : honest(target); });
    RemoteSource source(peer.address(), kShort);
    StoreSink sink(store_);
    const Error error = error_of([&] { transfer(source, sink, "lab/model:v1", "", 1); });
    EXPECT_TRUE(store_.list_refs().empty() && store_.list_objects().empty()) << where;
    EXPECT_EQ(store_.verify().exit_status(), 0);
    return error;
  }
  void expect_pulled(const std::string& where, const std::string& answer, ErrorCode code, const std::string& words) {
    const Error error = pulled(where, answer);
    EXPECT_EQ(error.code(), code) << where << " " << answer.substr(0, 80) << ": " << error.what();
    EXPECT_THAT(error.what(), HasSubstr(words)) << where;
  }

  const Bytes chunk_ = seeded_bytes(1, 5000);
  Bytes manifest_;
  json object_;
  TemporaryDirectory home_{fast_directory()};
  ArtifactStore store_ = ArtifactStore::open(home_.path() / "store", OpenMode::create);
};

TEST_F(RemoteStore, AnHonestPeerIsBelieved) {
  const Peer peer([&](const std::string& target) { return honest(target); });
  RemoteSource source(peer.address(), kShort);
  StoreSink sink(store_);
  EXPECT_EQ(transfer(source, sink, "lab/model:v1", "", 1).chunks_copied, 1u);
  EXPECT_EQ(store_.get_chunk(sha256(chunk_)), chunk_);
  EXPECT_EQ(store_.find_ref("lab/model:v1")->object, sha256(manifest_));
}

TEST_F(RemoteStore, WrongBytesAreFoundOnArrival) {
  Bytes changed = chunk_;
  changed[17] ^= 1;
  expect_pulled("/v1/store/chunks/", reply(std::string(as_text(changed))), ErrorCode::corrupt, "has not the digest");
  expect_pulled("/v1/store/chunks/", reply(std::string(as_text(chunk_)).substr(1)), ErrorCode::corrupt, "has not the digest");
  expect_pulled("/v1/store/chunks/", reply(""), ErrorCode::corrupt, "has not the digest");
  json object = object_;
  object["bytes"] = to_base64("another manifest");
  expect_pulled("/v1/store/objects/", reply(object.dump()), ErrorCode::corrupt, "has not the digest");
  // Another list of chunks than the manifest's: a shorter one published an artifact without its weights.
  for (const json& chunks : {json::array(), json{sha256("foreign").hex()}, json{sha256(chunk_).hex(), sha256(chunk_).hex()}}) {
    object = object_;
    object["chunks"] = chunks;
    expect_pulled("/v1/store/objects/", reply(object.dump()), ErrorCode::corrupt, "another list of chunks");
  }
}

// A manifest whose own digest is right and whose chunks are not what it says.
TEST_F(RemoteStore, AManifestWithChunksOfAnotherSizeIsRefused) {
  for (const std::uint64_t bytes : {chunk_.size() - 1, chunk_.size() + 1, std::size_t{1} << 24}) {
    Manifest manifest = decode_manifest(manifest_);
    manifest.tensors[0].chunks[0].bytes = bytes;
    manifest_ = encode(manifest);
    object_["digest"] = sha256(manifest_).hex();
    object_["bytes"] = to_base64(as_text(manifest_));
    expect_pulled("/none", "", ErrorCode::bad_input, "which has 5000");
  }
}

// The same at the other end: what a service is asked to publish.
TEST_F(RemoteStore, AServicePublishesNoManifestWithoutItsChunks) {
  RunningService service;
  RemoteSink sink(service.local(), kShort);
  const auto publish = [&](std::uint64_t bytes, const std::string& name = "lab/model:v1") {
    Manifest manifest = decode_manifest(manifest_);
    manifest.tensors[0].chunks[0].bytes = bytes;
    const Bytes encoded = encode(manifest);
    sink.publish(Commit().put_object(sha256(encoded), encoded, std::vector{sha256(chunk_)}).set_ref(name, sha256(encoded), 1));
  };
  const auto refused = [&](std::uint64_t bytes, const std::string& words) {
    const Error error = error_of([&] { publish(bytes); });
    EXPECT_EQ(error.code(), ErrorCode::bad_input) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(words));
    EXPECT_EQ(sink.find_ref("lab/model:v1"), std::nullopt);
  };
  refused(chunk_.size(), "which nobody has put");
  sink.put_chunk(sha256(chunk_), chunk_);
  refused(chunk_.size() + 1, "which has 5000");
  EXPECT_NE(error_of([&] { publish(1ull << 40); }).code(), ErrorCode::internal) << "no chunk is so large";
  EXPECT_EQ(sink.find_ref("lab/model:v1"), std::nullopt);
  publish(chunk_.size());
  EXPECT_TRUE(sink.find_ref("lab/model:v1"));
}

TEST_F(RemoteStore, NamesThatAreNoneAreRefusedByAService) {
  RunningService service;
  const std::string token = service.on_loop([](Daemon& daemon) { return daemon.create_token({"alice", {"read", "publish"}, 1}, "test"); }).secret;
  for (const std::string& bad : {std::string("../../etc/passwd"), std::string("a/../b"), std::string(10'000, 'a'), std::string("lab/m\xD0\xBE" "del"),
                                 std::string("lab/model:a:b"), std::string("-rf"), std::string("a\nb"), std::string("/a"), std::string()}) {
    const json body = {{"objects", json::array()}, {"records", json::array()}, {"names", {{{"name", bad}, {"digest", sha256("x").hex()}}}}};
    const HttpAnswer answer = http_request(service.tcp(token), "POST", "/v1/store/publishes", body.dump());
    EXPECT_EQ(answer.status, 400u) << bad.substr(0, 50) << answer.body;
    EXPECT_LT(answer.body.size(), 2000u);
  }
}

TEST_F(RemoteStore, AnswersThatAreNoneAreTold) {
  for (const char* garbage : {"", "[]", "7", "{", "{\"digest\": 7, \"name\": 7}", "\xff\xfe", "<html>"})
    expect_pulled("/v1/store/refs/", reply(garbage), ErrorCode::corrupt, "answered something else");
  expect_pulled("/v1/store/refs/", reply(R"({"digest": "../../etc/passwd", "name": "x"})"), ErrorCode::corrupt, "no digest");
  for (const char* field : {"bytes", "chunks", "names", "records"}) {
    json object = object_;
    object[field] = 7;
    expect_pulled("/v1/store/objects/", reply(object.dump()), ErrorCode::corrupt, "answered something else");
  }
  json object = object_;
  object["bytes"] = "no base64!";
  EXPECT_NE(pulled("/v1/store/objects/", reply(object.dump())).code(), ErrorCode::internal);
  // A refusal without words, and one whose words are a number.
  expect_pulled("/v1/store/refs/", reply("{\"message\": 7}", 500), ErrorCode::failed, "status 500");
  expect_pulled("/v1/store/refs/", "no HTTP at all\r\n\r\n", ErrorCode::unreachable, "127.0.0.1");
  expect_pulled("/v1/store/chunks/", "HTTP/1.1 200 X\r\nContent-Length: 999999999999\r\n\r\n", ErrorCode::unreachable, "127.0.0.1");
}

TEST_F(RemoteStore, AnOlderPeerIsNamed) {
  const std::string nothing = reply(R"({"code": "not_found", "message": "there is nothing at this path: /openapi.json lists what there is"})", 404);
  expect_pulled("/v1/store/refs/", nothing, ErrorCode::bad_input, "or an older one");
  expect_pulled("/v1/store/", reply("<html>404</html>", 404), ErrorCode::bad_input, "it is no quench service");
  expect_pulled("/v1/store/chunks/", reply("", 405), ErrorCode::bad_input, "or an older one");
  const Peer peer([&](const std::string&) { return nothing; });
  RemoteSink sink(peer.address(), kShort);
  const Error pushed = error_of([&] { sink.find_ref("lab/model:v1"); });
  EXPECT_EQ(pushed.code(), ErrorCode::bad_input) << "not: the name is free";
  EXPECT_THAT(pushed.what(), HasSubstr(peer.address().to_string()));
}

TEST_F(RemoteStore, APeerThatStopsIsLeft) {
  const auto start = std::chrono::steady_clock::now();
  expect_pulled("/v1/store/chunks/", "", ErrorCode::unreachable, "127.0.0.1");
  expect_pulled("/v1/store/chunks/", "HTTP/1.1 200 X\r\nContent-Length: 5000\r\n\r\nonly this", ErrorCode::unreachable, "127.0.0.1");
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  // What is asked again is asked as often as patience says.
  const Peer busy([](const std::string&) { return reply("{}", 503); });
  RemoteSource source(busy.address(), Patience{3, std::chrono::milliseconds(1), std::chrono::seconds(1)});
  EXPECT_EQ(error_of([&] { source.resolve("lab/model:v1"); }).code(), ErrorCode::failed);
  EXPECT_EQ(busy.requests(), 3);
}

}  // namespace
}  // namespace quench::coordinator
