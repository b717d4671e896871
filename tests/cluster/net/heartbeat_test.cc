#include "cluster/net/heartbeat.h"

#include <gtest/gtest.h>

#include "schemas/error.h"

namespace quench::cluster {
namespace {

using Action = HeartbeatClock::Action;
using std::chrono::milliseconds;

HeartbeatClock::Time at(int ms) { return HeartbeatClock::Time{} + milliseconds(ms); }

TEST(HeartbeatClock, WaitsThenSendsWhenNothingElseWasSent) {
  HeartbeatClock clock(1000, 5000, at(0));
  EXPECT_EQ(clock.decide(at(999)).action, Action::wait);
  EXPECT_EQ(clock.decide(at(999)).look_again, at(1000));
  EXPECT_EQ(clock.decide(at(1000)).action, Action::send);
}

TEST(HeartbeatClock, EveryFrameIsAHeartbeat) {
  HeartbeatClock clock(1000, 5000, at(0));
  clock.on_sent(at(900));
  EXPECT_EQ(clock.decide(at(1000)).action, Action::wait);
  EXPECT_EQ(clock.decide(at(1000)).look_again, at(1900));
}

TEST(HeartbeatClock, ASilentPeerIsLostExactlyAtTheLimit) {
  HeartbeatClock clock(1000, 5000, at(0));
  clock.on_sent(at(4500));
  EXPECT_EQ(clock.decide(at(4999)).action, Action::wait);
  EXPECT_EQ(clock.decide(at(4999)).look_again, at(5000));
  EXPECT_EQ(clock.decide(at(5000)).action, Action::lost);
}

TEST(HeartbeatClock, AnyBytesKeepThePeerAlive) {
  HeartbeatClock clock(1000, 5000, at(0));
  for (int ms = 0; ms < 60'000; ms += 4000) {
    clock.on_received(at(ms));
    clock.on_sent(at(ms + 3999));
    EXPECT_NE(clock.decide(at(ms + 3999)).action, Action::lost);
  }
}

TEST(HeartbeatClock, WhileWeDoNotReadThePeerIsNotBlamed) {
  HeartbeatClock clock(1000, 5000, at(0));
  clock.on_reading_paused();
  EXPECT_EQ(clock.decide(at(60'000)).action, Action::send);
  clock.on_reading_resumed(at(60'000));
  clock.on_sent(at(60'000));
  EXPECT_EQ(clock.decide(at(60'001)).action, Action::wait);
  clock.on_sent(at(64'999));
  EXPECT_EQ(clock.decide(at(65'000)).action, Action::lost);
}

TEST(HeartbeatClock, RefusesTermsThatCannotHold) {
  EXPECT_THROW(HeartbeatClock(0, 5000, at(0)), Error);
  EXPECT_THROW(HeartbeatClock(5000, 5000, at(0)), Error);
}

}  // namespace
}  // namespace quench::cluster
