#include "cluster/net/connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/write.hpp>
#include <future>
#include <random>
#include <thread>

#include "tests/cluster/net/net_fixture.h"

namespace quench::cluster {
namespace {

using ::testing::HasSubstr;
using testing::Mailbox;
using testing::run_until;
using testing::socket_pair;

constexpr std::chrono::milliseconds kPatience{20'000};

Bytes pattern(std::size_t size, int seed = 1) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>((i * 7 + i / 251) * seed);
  return bytes;
}

// Two Connections talking to each other, both on `loop`.
class ConnectionTest : public ::testing::Test {
 protected:
  void connect(const ConnectionOptions& left_options = {}, const ConnectionOptions& right_options = {}) {
    auto [a, b] = socket_pair(loop);
    left = std::make_unique<Connection>(loop, std::move(a), left_options);
    right = std::make_unique<Connection>(loop, std::move(b), right_options);
    left->set_handlers(left_box.handlers());
    right->set_handlers(right_box.handlers());
  }
  // One Connection against a raw socket, which does what it likes.
  Socket connect_raw(const ConnectionOptions& options = {}) {
    auto [a, b] = socket_pair(loop);
    left = std::make_unique<Connection>(loop, std::move(a), options);
    left->set_handlers(left_box.handlers());
    return std::move(b);
  }
  static Bytes frame(const Message& message, const Bytes& payload, AttemptNumber attempt = {}) {
    const Bytes control = encode(message);
    const FrameHeaderBytes header =
        encode_header({.attempt = attempt,
                       .control_bytes = static_cast<std::uint32_t>(control.size()),
                       .payload_bytes = static_cast<std::uint32_t>(payload.size())});
    Bytes all(header.size() + control.size() + payload.size());
    auto at = std::ranges::copy(header, all.begin()).out;
    at = std::ranges::copy(control, at).out;
    std::ranges::copy(payload, at);
    return all;
  }
  static void write(Socket& socket, const Bytes& bytes) {
    boost::asio::write(socket, boost::asio::buffer(bytes));
  }

  Loop loop;
  Mailbox left_box;
  Mailbox right_box;
  std::unique_ptr<Connection> left;
  std::unique_ptr<Connection> right;
};

TEST_F(ConnectionTest, CarriesMessagesInOrderWithTheirPayloads) {
  connect();
  std::vector<Bytes> chunks;
  for (const std::size_t size : {std::size_t{1}, std::size_t{100'000}, kPayloadBytesMax}) {
    chunks.push_back(pattern(size));
    left->send(LogLine{.level = 2, .text = std::to_string(size)});
    left->send(ChunkPut{sha256(chunks.back())}, chunks.back());
  }
  ASSERT_TRUE(run_until(loop, [&] { return right_box.messages.size() == 6; }));
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(std::get<LogLine>(right_box.messages[2 * i].first).text, std::to_string(chunks[i].size()));
    EXPECT_EQ(std::get<ChunkPut>(right_box.messages[2 * i + 1].first).digest, sha256(chunks[i]));
    EXPECT_TRUE(right_box.messages[2 * i + 1].second == chunks[i]);
  }
  EXPECT_TRUE(run_until(loop, [&] { return left->queued_bytes() == 0; }));
}

TEST_F(ConnectionTest, ChecksPayloadsOnAPoolWithoutLosingTheOrder) {
  boost::asio::thread_pool pool(2);
  connect({}, {.hash_pool = &pool});
  for (int i = 0; i < 20; ++i) {
    const Bytes chunk = pattern(200'000, i);
    left->send(ChunkPut{sha256(chunk)}, chunk);
    left->send(ChunkStored{static_cast<std::uint64_t>(i)});
  }
  ASSERT_TRUE(run_until(loop, [&] { return right_box.messages.size() == 40; }));
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_TRUE(right_box.messages[2 * i].second == pattern(200'000, static_cast<int>(i)));
    EXPECT_EQ(std::get<ChunkStored>(right_box.messages[2 * i + 1].first).count, i);
  }
  Bytes wrong = pattern(1000);
  left->send(ChunkPut{sha256(pattern(999))}, wrong);
  ASSERT_TRUE(run_until(loop, [&] { return right_box.closed.has_value(); }));
  EXPECT_EQ(right_box.closed->code(), ErrorCode::corrupt);
  pool.join();
}

TEST_F(ConnectionTest, AWrongByteInAChunkClosesTheConnection) {
  connect();
  Bytes chunk = pattern(5000);
  const Digest digest = sha256(chunk);
  chunk[4321] ^= 1;
  left->send(ChunkReply{digest}, chunk);
  ASSERT_TRUE(run_until(loop, [&] { return right_box.closed && left_box.closed; }));
  EXPECT_EQ(right_box.closed->code(), ErrorCode::corrupt);
  EXPECT_THAT(right_box.closed->what(), HasSubstr(digest.short_hex()));
  EXPECT_TRUE(right_box.messages.empty());
  EXPECT_EQ(left_box.closed->code(), ErrorCode::unreachable);
}

TEST_F(ConnectionTest, APayloadNobodyAskedForClosesTheConnection) {
  Socket raw = connect_raw();
  write(raw, frame(LogLine{.level = 1, .text = "x"}, pattern(10)));
  ASSERT_TRUE(run_until(loop, [&] { return left_box.closed.has_value(); }));
  EXPECT_EQ(left_box.closed->code(), ErrorCode::corrupt);
}

TEST_F(ConnectionTest, GarbageAndOversizeLengthsCloseTheConnection) {
  Bytes oversize = frame(ExitOrder{}, {});
  oversize[15] = 0x7f;  // a message of 2 GiB
  Bytes garbage = pattern(200);
  Bytes no_message = frame(ExitOrder{}, {});
  for (std::size_t i = kFrameHeaderBytes; i < no_message.size(); ++i) no_message[i] = 0xff;
  for (const Bytes& bytes : {oversize, garbage, no_message}) {
    left_box = {};
    Socket raw = connect_raw();
    write(raw, bytes);
    ASSERT_TRUE(run_until(loop, [&] { return left_box.closed.has_value(); }));
    EXPECT_EQ(left_box.closed->code(), ErrorCode::corrupt) << left_box.closed->what();
  }
}

// 400 streams of three frames with a few bytes changed: whatever they say, the connection ends with an Error
// of the stream's, and nothing but whole, decoded messages came out before.
TEST_F(ConnectionTest, SurvivesFuzzedStreams) {
  std::mt19937_64 generator(7);
  std::size_t delivered = 0;
  std::size_t corrupt = 0;
  const Bytes chunk = pattern(300);
  for (int round = 0; round < 400; ++round) {
    left_box = {};
    Socket raw = connect_raw({.bounds = {.control_bytes_max = 64 << 10, .payload_bytes_max = 1 << 20}});
    Bytes stream;
    for (const Bytes& part :
         {frame(LogLine{.level = 1, .text = "first"}, {}), frame(ChunkPut{sha256(chunk)}, chunk),
          frame(BenchmarkInfo{.digest = sha256("b"), .task_ids = {"a/1", "a/2"}}, {})})
      stream.insert(stream.end(), part.begin(), part.end());
    for (std::size_t i = generator() % 4; i > 0; --i)
      stream[generator() % stream.size()] = static_cast<std::uint8_t>(generator());
    write(raw, stream);
    raw.shutdown(Socket::shutdown_send);
    ASSERT_TRUE(run_until(loop, [&] { return left_box.closed.has_value(); })) << "round " << round;
    const ErrorCode code = left_box.closed->code();
    ASSERT_TRUE(code == ErrorCode::corrupt || code == ErrorCode::refused || code == ErrorCode::unreachable)
        << left_box.closed->what();
    ASSERT_LE(left_box.messages.size(), 3u);
    for (const auto& [message, payload] : left_box.messages)
      if (const auto* put = std::get_if<ChunkPut>(&message)) {
        ASSERT_EQ(put->digest, sha256(payload));
      }
    delivered += left_box.messages.size();
    corrupt += code == ErrorCode::corrupt ? 1 : 0;
  }
  EXPECT_GT(delivered, 400u);
  EXPECT_GT(corrupt, 100u);
}

TEST_F(ConnectionTest, AFrameMustEndWithinItsDeadlineHoweverSlowlyItComes) {
  Socket raw = connect_raw({.frame_ms_max = 150});
  const Bytes bytes = frame(LogLine{.level = 1, .text = std::string(1000, 'x')}, {});
  // A byte every 5 ms: never silent, and never done in time.
  std::jthread drip([&](const std::stop_token& stop) {
    for (std::size_t i = 0; i < bytes.size() && !stop.stop_requested(); ++i) {
      if (::send(raw.native_handle(), &bytes[i], 1, MSG_NOSIGNAL) != 1) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
  const auto start = std::chrono::steady_clock::now();
  ASSERT_TRUE(run_until(loop, [&] { return left_box.closed.has_value(); }));
  EXPECT_EQ(left_box.closed->code(), ErrorCode::timed_out);
  EXPECT_THAT(left_box.closed->what(), HasSubstr("150 ms"));
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(150));
}

TEST_F(ConnectionTest, AnIdleConnectionHasNoFrameDeadline) {
  Socket raw = connect_raw({.frame_ms_max = 20});
  EXPECT_FALSE(run_until(
      loop, [&] { return left_box.closed.has_value(); }, std::chrono::milliseconds(150)));
  write(raw, frame(ExitOrder{}, {}));
  ASSERT_TRUE(run_until(loop, [&] { return left_box.messages.size() == 1; }));
}

TEST_F(ConnectionTest, HeartbeatsKeepAnIdlePairAliveAndAreNotDelivered) {
  connect();
  const Welcome terms{.heartbeat_ms = 20, .silence_ms_max = 2000};
  left->begin_service(terms, {3});
  right->begin_service(terms, {3});
  EXPECT_FALSE(run_until(
      loop, [&] { return left_box.closed || right_box.closed; }, std::chrono::milliseconds(2500)));
  EXPECT_TRUE(left_box.messages.empty());
  EXPECT_TRUE(right_box.messages.empty());
}

TEST_F(ConnectionTest, ASilentPeerIsLost) {
  Socket raw = connect_raw();
  left->begin_service({.heartbeat_ms = 20, .silence_ms_max = 120}, {1});
  ASSERT_TRUE(run_until(loop, [&] { return left_box.closed.has_value(); }));
  EXPECT_EQ(left_box.closed->code(), ErrorCode::timed_out);
  EXPECT_THAT(left_box.closed->what(), HasSubstr("120 ms"));
}

// The store may keep the coordinator's loop busy for longer than the silence allowed; the frames that
// came meanwhile are in the socket, and the peer must not be called lost.
TEST_F(ConnectionTest, OurOwnAbsenceIsNotThePeersSilence) {
  Socket raw = connect_raw();
  left->begin_service({.heartbeat_ms = 20, .silence_ms_max = 400}, {1});
  run_until(
      loop, [] { return false; }, std::chrono::milliseconds(50));
  write(raw, frame(LogLine{.level = 1, .text = "alive"}, {}, {1}));
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  ASSERT_TRUE(run_until(loop, [&] { return left_box.messages.size() == 1 || left_box.closed; }));
  EXPECT_FALSE(left_box.closed);
}

TEST_F(ConnectionTest, FramesOfAnOlderAttemptAreDroppedAndOfANewerOneRefused) {
  Socket raw = connect_raw();
  left->begin_service({.heartbeat_ms = 1000, .silence_ms_max = 60'000}, {5});
  write(raw, frame(LogLine{.level = 1, .text = "ghost"}, {}, {4}));
  write(raw, frame(LogLine{.level = 1, .text = "living"}, {}, {5}));
  ASSERT_TRUE(run_until(loop, [&] { return left_box.messages.size() == 1; }));
  EXPECT_EQ(std::get<LogLine>(left_box.messages[0].first).text, "living");
  EXPECT_EQ(left->stale_frames(), 1u);
  write(raw, frame(LogLine{.level = 1, .text = "future"}, {}, {6}));
  ASSERT_TRUE(run_until(loop, [&] { return left_box.closed.has_value(); }));
  EXPECT_EQ(left_box.closed->code(), ErrorCode::refused);
}

TEST_F(ConnectionTest, TheQueueOfAPeerThatDoesNotReadIsBounded) {
  Socket raw = connect_raw({.send_queue_bytes_max = 3 << 20});
  const Bytes chunk = pattern(1 << 20);
  const ChunkReply reply{sha256(chunk)};
  for (int i = 0; i < 100 && !left->closed(); ++i) {
    left->send(reply, chunk);
    EXPECT_LE(left->queued_bytes(), std::size_t{3 << 20});
    loop.restart();
    loop.poll();
  }
  ASSERT_TRUE(left->closed());
  EXPECT_EQ(left->closed()->code(), ErrorCode::timed_out);
  ASSERT_TRUE(run_until(loop, [&] { return left_box.closed.has_value(); }));
}

TEST_F(ConnectionTest, ReadingStopsWhileAnswersPileUp) {
  Socket raw = connect_raw({.send_queue_bytes_pause = 2 << 20});
  const Bytes chunk = pattern(1 << 20);
  std::size_t asked = 0;
  left->set_handlers({.on_message =
                          [&](Message, Bytes) {
                            ++asked;
                            left->send(ChunkReply{sha256(chunk)}, chunk);
                          },
                      .on_closed = [](const Error&) {}});
  const Bytes request = frame(ChunkRequest{sha256(chunk)}, {});
  for (int i = 0; i < 50; ++i) write(raw, request);
  run_until(
      loop, [] { return false; }, std::chrono::milliseconds(200));
  EXPECT_GE(asked, 2u);
  EXPECT_LE(asked, 4u);  // two in the queue, one above it, one in the kernel
  // Once the peer takes its answers, the rest is served.
  std::jthread reader([&] {
    Bytes buffer(1 << 20);
    while (::recv(raw.native_handle(), buffer.data(), buffer.size(), 0) > 0) {
    }
  });
  EXPECT_TRUE(run_until(loop, [&] { return asked == 50 && left->queued_bytes() == 0; }));
  left.reset();
}

TEST_F(ConnectionTest, PausedReadingDeliversNothingUntilResumed) {
  Socket raw = connect_raw();
  write(raw, frame(LogLine{.level = 1, .text = "one"}, {}));
  left->set_handlers({.on_message =
                          [&](Message message, Bytes payload) {
                            left->pause_reading();
                            left_box.messages.emplace_back(std::move(message), std::move(payload));
                          },
                      .on_closed = [](const Error&) {}});
  write(raw, frame(LogLine{.level = 1, .text = "two"}, {}));
  run_until(
      loop, [] { return false; }, std::chrono::milliseconds(50));
  EXPECT_EQ(left_box.messages.size(), 1u);
  left->resume_reading();
  EXPECT_TRUE(run_until(loop, [&] { return left_box.messages.size() == 2; }));
}

TEST_F(ConnectionTest, CloseAfterSendingWritesWhatIsQueued) {
  connect();
  const Bytes chunk = pattern(4 << 20);
  left->send(ChunkReply{sha256(chunk)}, chunk);
  left->send(Refused{ErrorCode::refused, "enough"});
  left->close_after_sending(Error(ErrorCode::refused, "enough"));
  ASSERT_TRUE(run_until(loop, [&] { return right_box.closed && left_box.closed; }));
  ASSERT_EQ(right_box.messages.size(), 2u);
  EXPECT_EQ(std::get<Refused>(right_box.messages[1].first).message, "enough");
  EXPECT_STREQ(left_box.closed->what(), "enough");
}

TEST_F(ConnectionTest, AnErrorFromTheHandlerClosesWithIt) {
  Socket raw = connect_raw();
  left->set_handlers(
      {.on_message = [](Message, Bytes) { throw Error(ErrorCode::corrupt, "block 9 is not due"); },
       .on_closed = [&](const Error& reason) { left_box.closed = reason; }});
  write(raw, frame(ExitOrder{}, {}));
  ASSERT_TRUE(run_until(loop, [&] { return left_box.closed.has_value(); }));
  EXPECT_STREQ(left_box.closed->what(), "block 9 is not due");
}

TEST_F(ConnectionTest, MayBeDestroyedFromItsOwnCallback) {
  Socket raw = connect_raw();
  bool delivered = false;
  left->set_handlers({.on_message =
                          [&](Message, Bytes) {
                            left.reset();
                            delivered = true;
                          },
                      .on_closed = [](const Error&) { ADD_FAILURE() << "a callback after destruction"; }});
  write(raw, frame(ExitOrder{}, {}));
  write(raw, frame(ExitOrder{}, {}));
  ASSERT_TRUE(run_until(loop, [&] { return delivered; }));
  run_until(
      loop, [] { return false; }, std::chrono::milliseconds(20));
}

// The loop on its own thread, as in a rank; the test's thread is the compute thread.
class SendFromThread : public ConnectionTest {
 protected:
  void start() {
    thread = std::jthread([this] {
      const auto work = boost::asio::make_work_guard(loop);
      loop.run();
    });
  }
  void TearDown() override {
    loop.stop();
    thread = {};
  }
  std::jthread thread;
};

TEST_F(SendFromThread, WaitsForRoomAndKeepsTheQueueBounded) {
  auto [a, b] = socket_pair(loop);
  left =
      std::make_unique<Connection>(loop, std::move(a), ConnectionOptions{.send_queue_bytes_pause = 3 << 20});
  right = std::make_unique<Connection>(loop, std::move(b), ConnectionOptions{});
  std::atomic<int> received{0};
  right->set_handlers({.on_message = [&](Message, Bytes) { ++received; }, .on_closed = [](const Error&) {}});
  start();
  const Bytes chunk = pattern(1 << 20);
  const ChunkPut put{sha256(chunk)};
  std::size_t most = 0;
  for (int i = 0; i < 64; ++i) {
    left->send_from_thread(put, chunk, kPatience);
    most = std::max(most, left->queued_bytes());
  }
  EXPECT_LE(most, std::size_t{3 << 20});
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (received < 64 && std::chrono::steady_clock::now() < until) std::this_thread::yield();
  EXPECT_EQ(received, 64);
}

TEST_F(SendFromThread, GivesUpAtItsDeadlineAndNamesThePeer) {
  Socket raw = connect_raw({.send_queue_bytes_pause = 1 << 20});
  start();
  const Bytes chunk = pattern(1 << 20);
  const ChunkPut put{sha256(chunk)};
  try {
    for (int i = 0; i < 10; ++i) left->send_from_thread(put, chunk, std::chrono::milliseconds(50));
    ADD_FAILURE() << "nobody reads, and all was sent";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::timed_out);
    EXPECT_THAT(error.what(), HasSubstr("took nothing for 50 ms"));
  }
}

TEST_F(SendFromThread, AClosedConnectionEndsTheWaitWithItsReason) {
  Socket raw = connect_raw({.send_queue_bytes_pause = 1 << 20});
  start();
  const Bytes chunk = pattern(1 << 20);
  auto waiting = std::async(std::launch::async, [&] {
    for (int i = 0; i < 10; ++i) left->send_from_thread(ChunkPut{sha256(chunk)}, chunk, kPatience);
  });
  EXPECT_EQ(waiting.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  boost::asio::post(loop, [&] { left->close(Error(ErrorCode::timed_out, "the coordinator is lost")); });
  try {
    waiting.get();
    ADD_FAILURE() << "a closed connection took a chunk";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unreachable);
    EXPECT_THAT(error.what(), HasSubstr("the coordinator is lost"));
  }
}

}  // namespace
}  // namespace quench::cluster
