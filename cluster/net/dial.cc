// The peer's side of the handshake.
#include <boost/asio/steady_timer.hpp>
#include <string>
#include <utility>

#include "cluster/net/handshake.h"

namespace quench::cluster {
namespace {

using Clock = std::chrono::steady_clock;

// What has happened so far; lives on dial()'s stack while it drives the loop.
class Conversation {
 public:
  Conversation(Connection& connection, Hello hello, const DialOptions& options)
      : connection_(connection), hello_(std::move(hello)), options_(options) {}

  // Empty once welcomed or failed.
  bool over() const { return welcome_ || failure_; }
  const std::optional<Error>& failure() const { return failure_; }
  const Welcome& welcome() const { return *welcome_; }
  void fail(const Error& error) {
    if (!over()) failure_ = error;
  }

  void on_message(const Message& message) {
    if (over()) return;
    if (const auto* challenge = std::get_if<Challenge>(&message)) {
      if (challenged_) return fail(Error(ErrorCode::corrupt, "the coordinator sent a second challenge"));
      challenged_ = true;
      if (!options_.secret.empty())
        hello_.proof = hello_proof(options_.secret, challenge->nonce, options_.attempt, hello_);
      connection_.send(hello_);
    } else if (const auto* welcome = std::get_if<Welcome>(&message); welcome != nullptr && challenged_) {
      // Before the next frame is read: the coordinator's first order follows at once.
      connection_.begin_service(*welcome, options_.attempt, options_.connection.bounds);
      connection_.set_handlers({});
      welcome_ = *welcome;
    } else if (const auto* refused = std::get_if<Refused>(&message)) {
      fail(Error(refused->code, "the coordinator refused: " + refused->message));
    } else {
      fail(Error(ErrorCode::corrupt, "the coordinator sent something else than a challenge and a welcome"));
    }
  }

 private:
  Connection& connection_;
  Hello hello_;
  const DialOptions& options_;
  bool challenged_ = false;
  std::optional<Welcome> welcome_;
  std::optional<Error> failure_;
};

}  // namespace

Dialed dial(Loop& loop, const Endpoint& endpoint, Hello hello, const DialOptions& options) {
  const Clock::time_point until = Clock::now() + options.deadline;
  std::shared_ptr<TlsContext> tls;
  if (endpoint.encrypted) tls = client_tls(options.certificate);
  Socket socket = connect(loop, endpoint, options.deadline);
  ConnectionOptions connection_options = options.connection;
  connection_options.attempt = options.attempt;
  connection_options.tls = std::move(tls);
  connection_options.tls_side = TlsSide::client;
  connection_options.bounds = {.control_bytes_max = kHandshakeBytesMax, .payload_bytes_max = 0};
  auto connection = std::make_unique<Connection>(loop, std::move(socket), connection_options);
  Conversation conversation(*connection, std::move(hello), options);
  connection->set_handlers({.on_message = [&](Message message, Bytes) { conversation.on_message(message); },
                            .on_closed = [&](const Error& reason) { conversation.fail(reason); }});
  boost::asio::steady_timer timer(loop, until);
  bool timer_done = false;
  timer.async_wait([&](const boost::system::error_code& error) {
    timer_done = true;
    if (!error)
      conversation.fail(Error(ErrorCode::timed_out, "the coordinator did not answer within " +
                                                        std::to_string(options.deadline.count()) + " ms"));
  });
  loop.restart();
  while (!conversation.over()) loop.run_one();
  // The timer's handler refers to this frame.
  timer.cancel();
  while (!timer_done) loop.run_one();
  if (conversation.failure()) {
    Error failure = *conversation.failure();
    throw failure.with_context(endpoint.to_string());
  }
  return {std::move(connection), conversation.welcome()};
}

}  // namespace quench::cluster
