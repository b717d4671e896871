// How a peer becomes known: Challenge (C) → Hello with an HMAC over the challenge and what it says of
// itself → Welcome, or Refused and the end. The secret never travels; a recorded Hello is worth nothing
// against another challenge, rank or attempt. The decision (check_hello) is a function without sockets.
// Loop thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/net/connection.h"
#include "cluster/net/endpoint.h"
#include "cluster/net/socket.h"
#include "schemas/digest.h"
#include "schemas/messages.h"

namespace quench::cluster {

// Whom the coordinator expects now: the ranks of one gang, once each, until dismiss(); evaluation workers,
// any number of them at any time, once there is a secret for them.
class Roster {
 public:
  // A new attempt replaces the one before: its ranks are no longer let in. `world` 0: as many as the first rank
  // says, whose proof covers that number.
  void expect(AttemptNumber attempt, std::uint32_t world, std::string secret);
  void dismiss() { expected_ = false; }
  // Their secret is another than the gang's: it outlives gangs and may be carried to other hosts.
  void expect_evaluators(std::string secret);

  bool expected() const { return expected_; }
  AttemptNumber attempt() const { return attempt_; }
  std::uint32_t world() const { return world_; }
  const std::string& secret() const { return secret_; }
  const std::string& evaluator_secret() const { return evaluator_secret_; }  // empty: none are expected
  bool has(std::uint32_t rank) const { return rank < present_.size() && present_[rank]; }
  void join(RankId id);
  std::uint32_t joined() const;

 private:
  bool expected_ = false;
  AttemptNumber attempt_;
  std::uint32_t world_ = 0;
  std::string secret_;
  std::string evaluator_secret_;
  std::vector<bool> present_;
};

// What a Hello proves itself with: HMAC of nonce, attempt, role, rank, world, build, host, pid, isa.
Digest hello_proof(std::string_view secret, std::string_view nonce, AttemptNumber attempt,
                   const Hello& hello);

// The server's decision. Empty: let in. On TCP: ranks and evaluation workers (attempt 0), with proof. On a
// Unix socket the peer's user was checked by the listener: readers (attempt 0) need no proof; the others need
// none either, but a wrong one is refused. The message of a refusal names what was expected, never the secret.
std::optional<Refused> check_hello(const Roster& roster, const std::string& build, Transport transport,
                                   std::string_view nonce, AttemptNumber attempt, const Hello& hello);

// The server's side: owns connections until their peer is known.
struct ReceptionOptions {
  std::string build;
  Welcome welcome{.heartbeat_ms = kHeartbeatMs, .silence_ms_max = kSilenceMsMax};
  std::uint32_t handshake_ms_max = kHandshakeMsMax;
  ConnectionOptions connection;  // hash_pool, bounds after the handshake
};
class Reception {
 public:
  // The Welcome is already queued; call connection->set_handlers before returning to the loop.
  using OnPeer = std::function<void(std::unique_ptr<Connection>, Hello, Transport)>;
  // For the log: who was turned away and why.
  using OnRefused = std::function<void(const Error&)>;

  Reception(Loop& loop, Roster& roster, ReceptionOptions options, OnPeer on_peer, OnRefused on_refused);
  ~Reception();
  Reception(const Reception&) = delete;
  Reception& operator=(const Reception&) = delete;

  // Fits Listener::OnAccept. With `tls` every connection must begin with its handshake.
  void greet(Socket socket, Transport transport, std::shared_ptr<TlsContext> tls = nullptr);
  std::size_t pending() const;

 private:
  class State;
  // Two owners: this handle and the timers of the handshakes under way.
  std::shared_ptr<State> state_;
};

// The peer's side.
struct Dialed {
  std::unique_ptr<Connection> connection;  // in service; call set_handlers, then run the loop
  Welcome welcome;
};
struct DialOptions {
  AttemptNumber attempt;  // 0 for readers and evaluation workers
  std::string secret;     // empty on a Unix socket
  std::filesystem::path certificate = {};  // PEM: whom an encrypted endpoint must be
  std::chrono::milliseconds deadline{30'000};
  ConnectionOptions connection;
};
// Connects and proves `hello` (its `proof` is filled here), driving `loop` on the calling thread until
// done; so call it before the loop's own thread starts. Throws Error with the code and text of a
// refusal, Error(unreachable) when nobody listens, Error(timed_out) when the coordinator is silent.
Dialed dial(Loop& loop, const Endpoint& endpoint, Hello hello, const DialOptions& options);

}  // namespace quench::cluster
