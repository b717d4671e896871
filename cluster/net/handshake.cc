#include "cluster/net/handshake.h"

#include <string>
#include <utility>

namespace quench::cluster {
namespace {

void append(std::string& text, std::string_view field) {
  text += std::to_string(field.size()) + ":";
  text += field;
}
void append(std::string& text, std::uint64_t field) { append(text, std::to_string(field)); }

Refused refuse(std::string message) { return {ErrorCode::refused, std::move(message)}; }

std::optional<Refused> check_rank(const Roster& roster, const std::string& build, Transport transport,
                                  std::string_view nonce, AttemptNumber attempt, const Hello& hello) {
  if (!roster.expected()) return refuse("no gang is expected now");
  // The proof first: whoever does not know the secret learns nothing about the gang.
  const bool trusted = transport == Transport::unix_socket && hello.proof.is_none();
  if (!trusted && !equal_constant_time(hello.proof, hello_proof(roster.secret(), nonce, attempt, hello)))
    return refuse(
        "the proof of the gang's secret is wrong; the rank belongs to another run, or read another " +
        std::string("secret file"));
  if (attempt != roster.attempt())
    return refuse("this rank belongs to attempt " + std::to_string(attempt.value) + " of the gang; attempt " +
                  std::to_string(roster.attempt().value) + " is running");
  if (hello.build != build)
    return refuse("this rank is build \"" + hello.build + "\", the coordinator \"" + build +
                  "\"; install the same Quench on every node");
  const RankId id = hello.rank;
  if (roster.world() == 0) {
    if (id.world >= 1 && id.world <= kWorldMax && id.rank < id.world) return std::nullopt;
    return refuse("rank " + std::to_string(id.rank) + " of " + std::to_string(id.world) + " came, expected 1 to " +
                  std::to_string(kWorldMax) + " ranks");
  }
  if (id.world != roster.world() || id.rank >= roster.world())
    return refuse("rank " + std::to_string(id.rank) + " of " + std::to_string(id.world) +
                  " came, expected ranks 0 to " + std::to_string(roster.world() - 1) + " of " +
                  std::to_string(roster.world()));
  if (roster.has(id.rank)) return refuse("rank " + std::to_string(id.rank) + " is here already");
  return std::nullopt;
}

// The secret first, here too.
std::optional<Refused> check_evaluator(const Roster& roster, const std::string& build, Transport transport,
                                       std::string_view nonce, AttemptNumber attempt, const Hello& hello) {
  if (roster.evaluator_secret().empty()) return refuse("no evaluation workers are taken here");
  const bool trusted = transport == Transport::unix_socket && hello.proof.is_none();
  if (!trusted &&
      !equal_constant_time(hello.proof, hello_proof(roster.evaluator_secret(), nonce, attempt, hello)))
    return refuse("the proof of the evaluation workers' secret is wrong; each run has a new one, in its store's "
                  "folder join");
  if (attempt != AttemptNumber{}) return refuse("an evaluation worker belongs to no attempt, expected 0");
  if (hello.build != build)
    return refuse("this evaluation worker is build \"" + hello.build + "\", the coordinator \"" + build +
                  "\"; install the same Quench on every node");
  return std::nullopt;
}

}  // namespace

void Roster::expect_evaluators(std::string secret) {
  QUENCH_CHECK(!secret.empty());
  evaluator_secret_ = std::move(secret);
}

void Roster::expect(AttemptNumber attempt, std::uint32_t world, std::string secret) {
  QUENCH_CHECK(!secret.empty());
  expected_ = true;
  attempt_ = attempt;
  world_ = world;
  secret_ = std::move(secret);
  present_.assign(world, false);
}

void Roster::join(RankId id) {
  if (world_ == 0) {
    world_ = id.world;
    present_.assign(world_, false);
  }
  QUENCH_CHECK(id.world == world_ && id.rank < world_ && !present_[id.rank], id.rank, world_);
  present_[id.rank] = true;
}

std::uint32_t Roster::joined() const {
  std::uint32_t count = 0;
  for (const bool present : present_) count += present ? 1 : 0;
  return count;
}

// Every field with its length before it, so that no two Hellos make the same text.
Digest hello_proof(std::string_view secret, std::string_view nonce, AttemptNumber attempt,
                   const Hello& hello) {
  std::string text = "quench hello 1;";
  append(text, nonce);
  append(text, attempt.value);
  append(text, static_cast<std::uint64_t>(hello.role));
  append(text, hello.rank.rank);
  append(text, hello.rank.world);
  append(text, hello.build);
  append(text, hello.host);
  append(text, static_cast<std::uint64_t>(hello.pid));
  append(text, hello.isa);
  return hmac_sha256(secret, text);
}

std::optional<Refused> check_hello(const Roster& roster, const std::string& build, Transport transport,
                                   std::string_view nonce, AttemptNumber attempt, const Hello& hello) {
  for (const std::string* text : {&hello.build, &hello.host, &hello.isa})
    if (text->size() > kHelloTextBytesMax)
      return refuse("a name in the greeting has " + std::to_string(text->size()) + " bytes, at most " +
                    std::to_string(kHelloTextBytesMax) + " are taken");
  switch (hello.role) {
    case PeerRole::rank:
      return check_rank(roster, build, transport, nonce, attempt, hello);
    case PeerRole::reader:
      if (transport != Transport::unix_socket)
        return refuse("readers are let in over the store's Unix socket only");
      if (attempt != AttemptNumber{}) return refuse("a reader belongs to no attempt, expected 0");
      return std::nullopt;
    case PeerRole::evaluator:
      return check_evaluator(roster, build, transport, nonce, attempt, hello);
  }
  return refuse("unknown role " + std::to_string(static_cast<int>(hello.role)));
}

}  // namespace quench::cluster
