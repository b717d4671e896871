#include "coordinator/http/access.h"

#include <openssl/rand.h>
#include <pwd.h>

#include <algorithm>
#include <array>

namespace quench::coordinator {
namespace {

constexpr std::array kScopes = {Scope::read, Scope::submit, Scope::publish, Scope::admin};
constexpr std::string_view kTokenPrefix = "quench_";
constexpr std::string_view kBearer = "Bearer ";
constexpr std::size_t kIdCharacters = 12;
constexpr std::uint32_t kTokenDaysMax = 3650;
constexpr std::int64_t kDayMs = 24ll * 3600 * 1000;

std::string random_hex(std::size_t characters) {
  Digest random;
  QUENCH_CHECK(RAND_bytes(random.bytes.data(), static_cast<int>(random.bytes.size())) == 1);
  return random.hex().substr(0, characters);
}

std::string name_of_uid(std::uint32_t uid) {
  std::array<char, 4096> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) return found->pw_name;
  return "uid" + std::to_string(uid);
}

std::uint32_t uid_of_name(const std::string& name) {
  std::array<char, 4096> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    throw Error(ErrorCode::bad_input, "localUsers: this host has no user \"" + name + "\"");
  return found->pw_uid;
}

ScopeSet scope_set(const std::vector<std::string>& names) {
  ScopeSet set;
  for (const std::string& name : names) set.add(scope_from_string(name));
  return set;
}

bool is_user_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-' || c == '@';
  });
}

[[noreturn]] void unauthorized(const std::string& message) { throw HttpProblem(401, "unauthorized", message); }

}  // namespace

Scope scope_from_string(std::string_view name) {
  for (const Scope scope : kScopes)
    if (to_string(scope) == name) return scope;
  throw Error(ErrorCode::bad_input,
              "unknown scope \"" + std::string(name) + "\": expected read, submit, publish or admin");
}

bool ScopeSet::has(Scope scope) const {
  const auto holds = [&](Scope one) { return (bits_ >> static_cast<unsigned>(one) & 1u) != 0; };
  return scope == Scope::open || holds(scope) || holds(Scope::admin);
}

std::vector<std::string> ScopeSet::names() const {
  std::vector<std::string> names;
  for (const Scope scope : kScopes)
    if (has(scope)) names.emplace_back(to_string(scope));
  return names;
}

NewToken make_token(const TokenRequest& request, std::int64_t now_ms) {
  if (!is_user_name(request.user))
    throw Error(ErrorCode::bad_input, "\"user\": expected 1 to 64 letters, digits, '.', '_', '-' or '@'");
  if (request.scopes.empty())
    throw Error(ErrorCode::bad_input, "\"scopes\": expected at least one of read, submit, publish, admin");
  if (request.days == 0 || request.days > kTokenDaysMax)
    throw Error(ErrorCode::bad_input, "\"days\": expected 1 to " + std::to_string(kTokenDaysMax));
  NewToken token;
  token.changed.id = random_hex(kIdCharacters);
  token.changed.user = request.user;
  token.changed.scopes = scope_set(request.scopes).names();
  token.changed.unix_ms = now_ms;
  token.changed.expires_unix_ms = now_ms + request.days * kDayMs;
  // 256 random bits need no salt and no slow hash.
  const std::string secret = random_hex(64);
  token.changed.hash = sha256(secret);
  token.secret = std::string(kTokenPrefix) + token.changed.id + "_" + secret;
  return token;
}

AccessTable::AccessTable(std::uint32_t own_uid, const std::vector<LocalUser>& local_users) : own_uid_(own_uid) {
  for (const LocalUser& user : local_users) {
    const ScopeSet scopes = in_context("localUsers", [&] { return scope_set(user.scopes); });
    if (user.user == "*") {
      everybody_ = scopes;
    } else {
      local_users_[uid_of_name(user.user)] = scopes;
    }
  }
}

void AccessTable::apply(const TokenChanged& changed) {
  Token& token = tokens_[changed.id];
  if (changed.hash.is_none()) {
    token.view.revoked_unix_ms = changed.unix_ms;
    return;
  }
  token.view = {changed.id, changed.user, changed.scopes, changed.unix_ms, changed.expires_unix_ms, 0};
  token.hash = changed.hash;
}

Caller AccessTable::identify(const HttpPeer& peer, std::string_view authorization, std::int64_t now_ms) const {
  if (authorization.empty() && peer.local) {
    Caller caller{name_of_uid(peer.uid), everybody_, "socket"};
    if (peer.uid == own_uid_ || peer.uid == 0) {
      caller.scopes.add(Scope::admin);
    } else if (const auto known = local_users_.find(peer.uid); known != local_users_.end()) {
      caller.scopes = known->second;
    }
    return caller;
  }
  if (authorization.empty()) unauthorized("no token: send \"Authorization: Bearer TOKEN\" (`quench token create` makes one)");
  if (!authorization.starts_with(kBearer)) unauthorized("expected \"Authorization: Bearer TOKEN\"");
  std::string_view text = authorization.substr(kBearer.size());
  const std::size_t id_end = kTokenPrefix.size() + kIdCharacters;
  if (!text.starts_with(kTokenPrefix) || text.size() <= id_end + 1 || text[id_end] != '_')
    unauthorized("this is no token of a Quench service");
  const auto found = tokens_.find(std::string(text.substr(kTokenPrefix.size(), kIdCharacters)));
  // Hashed for an unknown id too, so that time tells nothing.
  const Digest hash = sha256(text.substr(id_end + 1));
  if (!equal_constant_time(hash, found == tokens_.end() ? Digest{} : found->second.hash) || found == tokens_.end())
    unauthorized("this service does not know the token");
  const TokenView& view = found->second.view;
  if (view.revoked_unix_ms != 0) unauthorized("the token was revoked");
  if (now_ms >= view.expires_unix_ms) unauthorized("the token has expired: ask for a new one");
  return {view.user, scope_set(view.scopes), "token"};
}

std::vector<TokenView> AccessTable::tokens() const {
  std::vector<TokenView> views;
  for (const auto& [id, token] : tokens_) views.push_back(token.view);
  return views;
}

TokenChanged AccessTable::revocation(const std::string& id, const std::string& by, std::int64_t now_ms) const {
  const auto found = tokens_.find(id);
  if (found == tokens_.end()) throw HttpProblem(404, "not_found", "there is no token " + id);
  if (found->second.view.revoked_unix_ms != 0)
    throw HttpProblem(409, "wrong_state", "token " + id + " was revoked before");
  TokenChanged changed;
  changed.id = id;
  changed.user = found->second.view.user;
  changed.by = by;
  changed.unix_ms = now_ms;
  return changed;
}

void require_scope(const Caller& caller, Scope scope) {
  if (caller.scopes.has(scope)) return;
  throw HttpProblem(403, "forbidden", caller.user + " may not do this: it takes the scope " +
                                          std::string(to_string(scope)));
}

}  // namespace quench::coordinator
