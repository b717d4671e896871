// The server's side of the handshake: connections whose peer is not known yet.
#include <unistd.h>

#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <map>
#include <string>
#include <utility>

#include "cluster/net/handshake.h"

namespace quench::cluster {
namespace {

// 32 random bytes in hexadecimal, fresh for each connection, so that a recorded proof is worth nothing.
std::string make_nonce() {
  Digest random;
  static_assert(sizeof random.bytes == kNonceBytes);
  if (::getentropy(random.bytes.data(), random.bytes.size()) != 0)
    throw errno_error(ErrorCode::internal, "getentropy", errno);
  return random.hex();
}

}  // namespace

class Reception::State : public std::enable_shared_from_this<State> {
 public:
  State(Loop& loop, Roster& roster, ReceptionOptions options, OnPeer on_peer, OnRefused on_refused)
      : loop_(loop),
        roster_(roster),
        options_(std::move(options)),
        on_peer_(std::move(on_peer)),
        on_refused_(std::move(on_refused)) {}

  void greet(Socket socket, Transport transport, std::shared_ptr<TlsContext> tls) {
    if (guests_.size() >= kHandshakesMax)
      return on_refused_(
          Error(ErrorCode::refused, std::to_string(kHandshakesMax) + " handshakes are under way"));
    const std::uint64_t number = next_++;
    ConnectionOptions options = options_.connection;
    options.attempt = {};
    options.tls = std::move(tls);
    options.tls_side = TlsSide::server;
    options.frame_ms_max = std::min(options.frame_ms_max, options_.handshake_ms_max);
    options.bounds = {.control_bytes_max = kHandshakeBytesMax, .payload_bytes_max = 0};
    Guest& guest = guests_.try_emplace(number, loop_).first->second;
    guest.transport = transport;
    guest.nonce = make_nonce();
    guest.connection = std::make_unique<Connection>(loop_, std::move(socket), options);
    guest.deadline.expires_after(std::chrono::milliseconds(options_.handshake_ms_max));
    // The guests' callbacks do not own this state: it owns them, through connection and timer.
    guest.deadline.async_wait([weak = weak_from_this(), number](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (!error && self)
        self->turn_away(
            number, Error(ErrorCode::timed_out, "it did not say who it is within " +
                                                    std::to_string(self->options_.handshake_ms_max) + " ms"));
    });
    guest.connection->send(Challenge{.nonce = guest.nonce, .build = options_.build});
    guest.connection->set_handlers(
        {.on_message = [this, number](Message message, Bytes) { on_message(number, std::move(message)); },
         .on_closed = [this, number](const Error& reason) { turn_away(number, reason); }});
  }

  std::size_t pending() const { return guests_.size(); }

 private:
  struct Guest {
    explicit Guest(Loop& loop) : deadline(loop) {}
    std::unique_ptr<Connection> connection;
    Transport transport = Transport::tcp;
    std::string nonce;
    boost::asio::steady_timer deadline;
    bool answered = false;
  };

  void on_message(std::uint64_t number, Message message) {
    const auto self = shared_from_this();  // on_peer may destroy the reception
    const auto found = guests_.find(number);
    if (found == guests_.end()) return;
    Guest& guest = found->second;
    const auto* const hello = std::get_if<Hello>(&message);
    if (hello == nullptr || guest.answered)
      return turn_away(number, Error(ErrorCode::refused, "its first message is not a Hello"));
    guest.answered = true;
    const AttemptNumber attempt = guest.connection->peer_attempt();
    const auto refused = check_hello(roster_, options_.build, guest.transport, guest.nonce, attempt, *hello);
    if (refused) {
      // on_closed follows and reports it, once the Refused is written.
      guest.connection->send(*refused);
      return guest.connection->close_after_sending(Error(refused->code, refused->message));
    }
    if (hello->role == PeerRole::rank) roster_.join(hello->rank);
    std::unique_ptr<Connection> connection = std::move(guest.connection);
    const Transport transport = guest.transport;
    guests_.erase(found);
    connection->begin_service(options_.welcome, attempt, options_.connection.bounds);
    connection->send(options_.welcome);
    connection->set_handlers({});
    on_peer_(std::move(connection), std::get<Hello>(std::move(message)), transport);
  }

  void turn_away(std::uint64_t number, Error reason) {
    const auto found = guests_.find(number);
    if (found == guests_.end()) return;
    guests_.erase(found);
    on_refused_(reason.with_context("a peer was turned away"));
  }

  Loop& loop_;
  Roster& roster_;
  ReceptionOptions options_;
  OnPeer on_peer_;
  OnRefused on_refused_;
  std::map<std::uint64_t, Guest> guests_;
  std::uint64_t next_ = 0;
};

Reception::Reception(Loop& loop, Roster& roster, ReceptionOptions options, OnPeer on_peer,
                     OnRefused on_refused)
    : state_(std::make_shared<State>(loop, roster, std::move(options), std::move(on_peer),
                                     std::move(on_refused))) {}
Reception::~Reception() = default;
void Reception::greet(Socket socket, Transport transport, std::shared_ptr<TlsContext> tls) {
  state_->greet(std::move(socket), transport, std::move(tls));
}
std::size_t Reception::pending() const { return state_->pending(); }

}  // namespace quench::cluster
