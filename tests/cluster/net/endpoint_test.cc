#include "cluster/net/endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schemas/error.h"

namespace quench::cluster {
namespace {

TEST(Endpoint, KeepsItsText) {
  for (const char* const text :
       {"tcp://127.0.0.1:4711", "tcp://[::1]:65535", "tcp://node17:1", "unix:///run/q.sock"})
    EXPECT_EQ(Endpoint::parse(text).to_string(), text);
  EXPECT_EQ(Endpoint::parse("tcp://[::1]:1").host, "::1");
}

TEST(Endpoint, RefusesOtherText) {
  for (const char* const text :
       {"", "http://a:1", "tcp://", "tcp://a", "tcp://a:", "tcp://a:0", "tcp://a:65536", "tcp://a:1x",
        "tcp://:1", "unix://", "unix://relative/q.sock", "unix:///folder/"})
    EXPECT_THROW(Endpoint::parse(text), Error) << text;
}

TEST(Endpoint, ListensAtAnyFreePort) {
  EXPECT_EQ(Endpoint::parse_listen("0.0.0.0:0").port, 0);
  EXPECT_EQ(Endpoint::parse_listen("[::1]:0").host, "::1");
  EXPECT_EQ(Endpoint::parse_listen("node17:4711").to_string(), "tcp://node17:4711");
  for (const char* const text : {"", "a", "a:", ":0", "a:65536", "unix:///run/q.sock"})
    EXPECT_THROW(Endpoint::parse_listen(text), Error) << text;
}

TEST(Endpoint, KnowsLoopback) {
  for (const char* const text : {"127.0.0.1:1", "127.1.2.3:0", "[::1]:1"}) EXPECT_TRUE(Endpoint::parse_listen(text).is_loopback()) << text;
  for (const char* const text : {"0.0.0.0:0", "[::]:0", "node17:1"}) EXPECT_FALSE(Endpoint::parse_listen(text).is_loopback()) << text;
}

TEST(Endpoint, NobodyListeningIsUnreachable) {
  Loop loop;
  for (const char* const text :
       {"tcp://127.0.0.1:1", "unix:///nowhere/q.sock", "tcp://no-such-host.invalid:1"}) {
    try {
      connect(loop, Endpoint::parse(text), std::chrono::seconds(5));
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unreachable) << error.what();
    }
  }
}

}  // namespace
}  // namespace quench::cluster
