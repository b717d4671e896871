#include "cluster/net/handshake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/write.hpp>
#include <fstream>
#include <thread>

#include "cluster/net/listener.h"
#include "tests/cluster/net/net_fixture.h"

namespace quench::cluster {
namespace {

using ::testing::HasSubstr;
using testing::Mailbox;
using testing::run_until;

constexpr char kSecret[] = "a gang's secret";
constexpr char kBuild[] = "0.1.0-abc";

Hello hello_of(std::uint32_t rank, std::uint32_t world, const std::string& build = kBuild) {
  return {.build = build,
          .role = PeerRole::rank,
          .rank = {rank, world},
          .host = "node1",
          .pid = 77,
          .isa = "avx2"};
}

Roster roster_of(std::uint32_t attempt, std::uint32_t world) {
  Roster roster;
  roster.expect({attempt}, world, kSecret);
  return roster;
}

std::string refusal(const Roster& roster, Transport transport, AttemptNumber attempt, const Hello& hello) {
  const auto refused = check_hello(roster, kBuild, transport, "nonce", attempt, hello);
  return refused ? refused->message : "";
}

Hello proven(Hello hello, AttemptNumber attempt, const std::string& secret = kSecret) {
  hello.proof = hello_proof(secret, "nonce", attempt, hello);
  return hello;
}

TEST(CheckHello, LetsEachRankInOnce) {
  Roster roster = roster_of(3, 2);
  EXPECT_EQ(refusal(roster, Transport::tcp, {3}, proven(hello_of(1, 2), {3})), "");
  roster.join({1, 2});
  EXPECT_THAT(refusal(roster, Transport::tcp, {3}, proven(hello_of(1, 2), {3})), HasSubstr("here already"));
  EXPECT_EQ(refusal(roster, Transport::tcp, {3}, proven(hello_of(0, 2), {3})), "");
  EXPECT_EQ(roster.joined(), 1u);
}

// A batch system decides how many.
TEST(CheckHello, TheFirstRankOfAnElasticGangSaysHowManyThereAre) {
  Roster roster = roster_of(3, 0);
  EXPECT_THAT(refusal(roster, Transport::tcp, {3}, proven(hello_of(4, 4), {3})), HasSubstr("rank 4 of 4"));
  EXPECT_THAT(refusal(roster, Transport::tcp, {3}, proven(hello_of(0, 0), {3})), HasSubstr("rank 0 of 0"));
  EXPECT_THAT(refusal(roster, Transport::tcp, {3}, proven(hello_of(0, kWorldMax + 1), {3})), HasSubstr("4096"));
  EXPECT_EQ(refusal(roster, Transport::tcp, {3}, proven(hello_of(2, 3), {3})), "");
  roster.join({2, 3});
  EXPECT_EQ(roster.world(), 3u);
  EXPECT_THAT(refusal(roster, Transport::tcp, {3}, proven(hello_of(0, 2), {3})), HasSubstr("of 3"));
  EXPECT_THAT(refusal(roster, Transport::tcp, {3}, proven(hello_of(2, 3), {3})), HasSubstr("here already"));
  EXPECT_EQ(refusal(roster, Transport::tcp, {3}, proven(hello_of(0, 3), {3})), "");
}

TEST(CheckHello, EvaluationWorkersComeAtAnyTimeWithASecretOfTheirOwn) {
  constexpr char kJoining[] = "the joining secret";
  Hello hello = hello_of(0, 0);
  hello.role = PeerRole::evaluator;
  Roster roster = roster_of(3, 2);
  EXPECT_THAT(refusal(roster, Transport::tcp, {}, proven(hello, {}, kJoining)), HasSubstr("no evaluation workers"));
  roster.expect_evaluators(kJoining);
  for (int joined = 0; joined < 3; ++joined)
    EXPECT_EQ(refusal(roster, Transport::tcp, {}, proven(hello, {}, kJoining)), "");
  roster.dismiss();
  EXPECT_EQ(refusal(roster, Transport::tcp, {}, proven(hello, {}, kJoining)), "") << "no gang is needed";
  EXPECT_EQ(refusal(roster, Transport::unix_socket, {}, hello), "") << "the socket's owner is known";
  // The gang's secret is another, a rank's proof is no evaluator's, and no proof is none.
  EXPECT_THAT(refusal(roster, Transport::tcp, {}, proven(hello, {}, kSecret)), HasSubstr("proof"));
  Hello as_rank = proven(hello_of(0, 0), {}, kJoining);
  as_rank.role = PeerRole::evaluator;
  EXPECT_THAT(refusal(roster, Transport::tcp, {}, as_rank), HasSubstr("proof"));
  EXPECT_THAT(refusal(roster, Transport::tcp, {}, hello), HasSubstr("proof"));
  EXPECT_THAT(refusal(roster, Transport::tcp, {3}, proven(hello, {3}, kJoining)), HasSubstr("no attempt"));
  hello.build = "0.1.0-xyz";
  EXPECT_THAT(refusal(roster, Transport::tcp, {}, proven(hello, {}, kJoining)), HasSubstr("0.1.0-xyz"));
}

TEST(CheckHello, RefusesWhoeverDoesNotKnowTheSecret) {
  const Roster roster = roster_of(3, 2);
  EXPECT_THAT(refusal(roster, Transport::tcp, {3}, hello_of(0, 2)), HasSubstr("proof"));
  EXPECT_THAT(refusal(roster, Transport::tcp, {3}, proven(hello_of(0, 2), {3}, "guess")), HasSubstr("proof"));
  // The proof covers every field: none can be changed on the way.
  const Hello good = proven(hello_of(0, 2), {3});
  for (int field = 0; field < 6; ++field) {
    Hello changed = good;
    AttemptNumber attempt{3};
    if (field == 0) changed.rank.rank = 1;
    if (field == 1) changed.rank.world = 3;
    if (field == 2) changed.host = "node2";
    if (field == 3) changed.pid = 78;
    if (field == 4) changed.isa = "avx512";
    if (field == 5) attempt = {2};
    EXPECT_THAT(refusal(roster, Transport::tcp, attempt, changed), HasSubstr("proof")) << field;
  }
  // Nor does text move from one field to the next.
  Hello shifted = good;
  shifted.build = std::string(kBuild) + "n";
  shifted.host = "ode1";
  EXPECT_NE(hello_proof(kSecret, "nonce", {3}, shifted), good.proof);
  EXPECT_THAT(check_hello(roster, kBuild, Transport::tcp, "another nonce", {3}, good)->message,
              HasSubstr("proof"));
}

TEST(CheckHello, RefusesOtherAttemptsBuildsWorldsAndRanks) {
  const Roster roster = roster_of(3, 2);
  EXPECT_THAT(refusal(roster, Transport::tcp, {2}, proven(hello_of(0, 2), {2})), HasSubstr("attempt 2"));
  EXPECT_THAT(refusal(roster, Transport::tcp, {4}, proven(hello_of(0, 2), {4})), HasSubstr("attempt 4"));
  EXPECT_THAT(refusal(roster, Transport::tcp, {3}, proven(hello_of(0, 2, "0.0.9"), {3})), HasSubstr("0.0.9"));
  EXPECT_THAT(refusal(roster, Transport::tcp, {3}, proven(hello_of(0, 3), {3})), HasSubstr("rank 0 of 3"));
  EXPECT_THAT(refusal(roster, Transport::tcp, {3}, proven(hello_of(2, 2), {3})), HasSubstr("rank 2 of 2"));
  EXPECT_THAT(refusal(Roster{}, Transport::tcp, {3}, proven(hello_of(0, 2), {3})), HasSubstr("no gang"));
}

TEST(CheckHello, ReadersComeOverTheUnixSocketOnly) {
  const Roster roster;
  Hello reader = hello_of(0, 1);
  reader.role = PeerRole::reader;
  EXPECT_EQ(refusal(roster, Transport::unix_socket, {0}, reader), "");
  EXPECT_THAT(refusal(roster, Transport::tcp, {0}, reader), HasSubstr("Unix socket"));
  EXPECT_THAT(refusal(roster, Transport::unix_socket, {1}, reader), HasSubstr("attempt"));
  reader.host = std::string(kHelloTextBytesMax + 1, 'x');
  EXPECT_THAT(refusal(roster, Transport::unix_socket, {0}, reader), HasSubstr("bytes"));
}

TEST(CheckHello, ARankOnTheUnixSocketNeedsNoProofButNoWrongOneEither) {
  const Roster roster = roster_of(3, 2);
  EXPECT_EQ(refusal(roster, Transport::unix_socket, {3}, hello_of(0, 2)), "");
  EXPECT_THAT(refusal(roster, Transport::unix_socket, {3}, proven(hello_of(0, 2), {3}, "guess")),
              HasSubstr("proof"));
}

// A coordinator on a thread of its own, and peers that dial it over real sockets.
class ReceptionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder = std::filesystem::temp_directory_path() / ("quench-handshake-" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder);
    roster.expect({3}, 2, kSecret);
  }
  void TearDown() override {
    stop();
    std::filesystem::remove_all(folder);
  }
  void start(std::uint32_t handshake_ms_max = 5000) {
    reception = std::make_unique<Reception>(
        loop, roster,
        ReceptionOptions{.build = kBuild,
                         .welcome = {.heartbeat_ms = 50, .silence_ms_max = 5000},
                         .handshake_ms_max = handshake_ms_max,
                         .connection = {}},
        [this](std::unique_ptr<Connection> connection, Hello hello, Transport) {
          connection->set_handlers(box.handlers());
          connection->send(LogLine{.level = 1, .text = "order for rank " + std::to_string(hello.rank.rank)});
          peers.push_back(std::move(connection));
        },
        [this](const Error& reason) {
          turned_away.emplace_back(reason.what());
          ++turned_away_count;
        });
    const auto greet = [this](Socket socket, Transport transport) {
      reception->greet(std::move(socket), transport);
    };
    tcp.emplace(Listener::tcp(loop, "127.0.0.1", 0, greet));
    unix_socket.emplace(Listener::unix_socket(loop, folder / "quench.sock", greet));
    thread = std::jthread([this] {
      const auto work = boost::asio::make_work_guard(loop);
      loop.run();
    });
  }
  void stop() {
    loop.stop();
    thread = {};
    peers.clear();
    reception.reset();
    tcp.reset();
    unix_socket.reset();
  }
  Dialed dial_rank(const Hello& hello, AttemptNumber attempt = {3}, const std::string& secret = kSecret) {
    return dial(own, tcp->endpoint(), hello,
                {.attempt = attempt, .secret = secret, .deadline = std::chrono::seconds(10)});
  }
  Error dial_error(const Hello& hello, AttemptNumber attempt = {3}, const std::string& secret = kSecret) {
    try {
      dial_rank(hello, attempt, secret);
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "the peer was let in";
    return Error(ErrorCode::internal, "the peer was let in");
  }

  std::filesystem::path folder;
  Loop loop;  // the coordinator's
  Loop own;   // the peer's, on the test's thread
  Roster roster;
  Mailbox box;
  std::vector<std::string> turned_away;            // the coordinator's thread's, until stop()
  std::atomic<std::size_t> turned_away_count = 0;
  std::vector<std::unique_ptr<Connection>> peers;
  std::unique_ptr<Reception> reception;
  std::optional<Listener> tcp;
  std::optional<Listener> unix_socket;
  std::jthread thread;
};

TEST_F(ReceptionTest, WelcomesRanksOverTcpAndTheFirstOrderIsNotLost) {
  start();
  for (std::uint32_t rank = 0; rank < 2; ++rank) {
    Dialed dialed = dial_rank(hello_of(rank, 2));
    EXPECT_EQ(dialed.welcome.heartbeat_ms, 50u);
    Mailbox mine;
    dialed.connection->set_handlers(mine.handlers());
    ASSERT_TRUE(run_until(own, [&] { return mine.messages.size() == 1; }));
    EXPECT_EQ(std::get<LogLine>(mine.messages[0].first).text, "order for rank " + std::to_string(rank));
  }
}

TEST_F(ReceptionTest, LargeFramesPassOnlyAfterTheHandshake) {
  start();
  Dialed dialed = dial_rank(hello_of(0, 2));
  Mailbox mine;
  dialed.connection->set_handlers(mine.handlers());
  const Bytes chunk(kPayloadBytesMax, 0x5a);
  dialed.connection->send(ChunkPut{sha256(chunk)}, chunk);
  ASSERT_TRUE(run_until(own, [&] { return dialed.connection->queued_bytes() == 0; }));
  // The coordinator still talks to us: the chunk was taken.
  EXPECT_FALSE(run_until(
      own, [&] { return mine.closed.has_value(); }, std::chrono::milliseconds(200)));
  stop();
  ASSERT_EQ(box.messages.size(), 1u);
  EXPECT_TRUE(box.messages[0].second == chunk);
}

TEST_F(ReceptionTest, RefusalsReachThePeerWithTheirReason) {
  start();
  const Error secret = dial_error(hello_of(0, 2), {3}, "guess");
  EXPECT_EQ(secret.code(), ErrorCode::refused);
  EXPECT_THAT(secret.what(), HasSubstr("the coordinator refused: the proof"));
  EXPECT_THAT(dial_error(hello_of(0, 2, "0.0.9")).what(), HasSubstr("0.0.9"));
  EXPECT_THAT(dial_error(hello_of(0, 2), {2}).what(), HasSubstr("attempt 2"));
  const Dialed first = dial_rank(hello_of(0, 2));
  EXPECT_THAT(dial_error(hello_of(0, 2)).what(), HasSubstr("here already"));
  // A peer reads why before the coordinator has noted it.
  ASSERT_TRUE(run_until(own, [&] { return turned_away_count == 4; }));
  stop();
  EXPECT_EQ(turned_away.size(), 4u);
}

TEST_F(ReceptionTest, ReadersNeedNoSecretOnTheUnixSocket) {
  start();
  Hello reader{.build = "any", .role = PeerRole::reader, .rank = {}, .host = "here", .pid = 1, .isa = ""};
  Dialed dialed = dial(own, unix_socket->endpoint(), reader, {.attempt = {}, .secret = "", .connection = {}});
  Mailbox mine;
  dialed.connection->set_handlers(mine.handlers());
  EXPECT_TRUE(run_until(own, [&] { return mine.messages.size() == 1; }));
}

TEST_F(ReceptionTest, SilenceGarbageAndOversizeAreTurnedAwayInTime) {
  start(200);
  FrameHeaderBytes oversize =
      encode_header({.attempt = {3}, .control_bytes = kHandshakeBytesMax + 1, .payload_bytes = 0});
  FrameHeaderBytes payload = encode_header({.attempt = {3}, .control_bytes = 10, .payload_bytes = 1});
  const std::vector<std::string> attacks = {"",
                                            "GET / HTTP/1.1\r\n\r\n padding",
                                            {oversize.begin(), oversize.end()},
                                            {payload.begin(), payload.end()},
                                            "QN"};
  for (const std::string& attack : attacks) {
    Socket raw = connect(own, tcp->endpoint(), std::chrono::seconds(5));
    if (!attack.empty()) boost::asio::write(raw, boost::asio::buffer(attack));
    // The server ends it: after its challenge we read the end of the stream (or a reset).
    raw.native_non_blocking(false);
    Bytes buffer(4096);
    while (::recv(raw.native_handle(), buffer.data(), buffer.size(), 0) > 0) {
    }
  }
  // A message that is not a Hello.
  Socket raw = connect(own, tcp->endpoint(), std::chrono::seconds(5));
  Connection impostor(own, std::move(raw), {.attempt = {3}});
  Mailbox mine;
  impostor.set_handlers(mine.handlers());
  impostor.send(ChunkRequest{sha256("x")});
  EXPECT_TRUE(run_until(own, [&] { return mine.closed.has_value(); }));
  stop();
  ASSERT_EQ(turned_away.size(), attacks.size() + 1);
  EXPECT_THAT(turned_away[0], HasSubstr("within 200 ms"));
  EXPECT_THAT(turned_away.back(), HasSubstr("not a Hello"));
  EXPECT_TRUE(peers.empty());
}

TEST_F(ReceptionTest, ASilentCoordinatorTimesOut) {
  // Listens but nobody serves the loop: the connection is made by the kernel and stays silent.
  Loop idle;
  const Listener deaf = Listener::tcp(idle, "127.0.0.1", 0, [](Socket, Transport) {});
  try {
    dial(own, deaf.endpoint(), hello_of(0, 2),
         {.attempt = {3}, .secret = kSecret, .deadline = std::chrono::milliseconds(100)});
    ADD_FAILURE() << "silence was taken for a welcome";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::timed_out);
    EXPECT_THAT(error.what(), HasSubstr("within 100 ms"));
  }
}

class UnixListener : public ReceptionTest {
 protected:
  Listener listen(const std::filesystem::path& path) {
    return Listener::unix_socket(loop, path, [](Socket, Transport) {});
  }
};

TEST_F(UnixListener, IsForItsOwnerOnlyAndRemovesItself) {
  const auto path = folder / "a.sock";
  {
    const Listener listener = listen(path);
    struct stat info {};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600u);
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(UnixListener, ReplacesAStaleSocketButNotALivingOneOrAFile) {
  const auto path = folder / "a.sock";
  // What kill -9 leaves: a bound socket file whose process is gone.
  Loop dead;
  { boost::asio::local::stream_protocol::acceptor gone(dead, {path.string()}); }
  ASSERT_TRUE(std::filesystem::exists(path));
  const Listener listener = listen(path);
  try {
    listen(path);
    ADD_FAILURE() << "a second process took the socket";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    EXPECT_THAT(error.what(), HasSubstr("served by another process"));
  }
  connect(own, listener.endpoint(), std::chrono::seconds(1));  // the first still answers
  const auto file = folder / "important.txt";
  std::ofstream(file) << "data";
  EXPECT_THROW(listen(file), Error);
  EXPECT_TRUE(std::filesystem::exists(file));
}

TEST_F(UnixListener, DropsOtherUsersEvenWhereTheFileLetsThemIn) {
  if (::geteuid() != 0) GTEST_SKIP() << "becoming another user takes root";
  std::size_t accepted = 0;
  const auto path = folder / "a.sock";
  const Listener listener = Listener::unix_socket(loop, path, [&](Socket, Transport) { ++accepted; });
  ASSERT_EQ(::chmod(path.c_str(), 0666), 0);
  for (const uid_t user : {65534u, 0u}) {
    const pid_t child = ::fork();
    if (child == 0) {
      // Reads the end of the stream once the listener has let go of the connection.
      char byte = 0;
      if (::setresuid(user, user, user) != 0) ::_exit(1);
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      path.string().copy(address.sun_path, sizeof address.sun_path - 1);
      const int socket = ::socket(AF_UNIX, SOCK_STREAM, 0);
      if (::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) ::_exit(2);
      ::_exit(::recv(socket, &byte, 1, 0) == 0 ? 0 : 3);
    }
    int status = -1;
    ASSERT_TRUE(run_until(loop, [&] { return ::waitpid(child, &status, WNOHANG) == child; }));
    EXPECT_EQ(status, 0) << "user " << user;
    EXPECT_EQ(accepted, user == 0 ? 1u : 0u);
  }
}

TEST_F(UnixListener, TakesPathsLongerThanTheKernels) {
  auto deep = folder;
  for (int i = 0; i < 6; ++i) deep /= std::string(40, 'd');
  std::filesystem::create_directories(deep);
  const Listener listener = listen(deep / "quench.sock");
  connect(own, listener.endpoint(), std::chrono::seconds(1));
}

TEST_F(UnixListener, TcpRefusesForeignAddressesAndTakenPorts) {
  const Listener first = Listener::tcp(loop, "127.0.0.1", 0, [](Socket, Transport) {});
  EXPECT_GT(first.endpoint().port, 0);
  EXPECT_THROW(Listener::tcp(loop, "127.0.0.1", first.endpoint().port, [](Socket, Transport) {}), Error);
  EXPECT_THROW(Listener::tcp(loop, "192.0.2.1", 0, [](Socket, Transport) {}), Error);
  EXPECT_THROW(Listener::tcp(loop, "not an address", 0, [](Socket, Transport) {}), Error);
}

}  // namespace
}  // namespace quench::cluster
