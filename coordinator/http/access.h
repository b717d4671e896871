// Who may do what: scopes, tokens, users of this host. Decisions on plain data; tokens come from the service's journal,
// which holds the hash of a token's secret and never the secret. Event-loop thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/http/exchange.h"
#include "coordinator/routes.h"
#include "schemas/journal.h"
#include "schemas/service_api.h"

namespace quench::coordinator {

// Throws Error(bad_input) naming the four.
Scope scope_from_string(std::string_view name);

class ScopeSet {
 public:
  void add(Scope scope) { bits_ |= 1u << static_cast<unsigned>(scope); }
  bool has(Scope scope) const;
  std::vector<std::string> names() const;

 private:
  unsigned bits_ = 0;
};

struct Caller {
  std::string user;
  ScopeSet scopes;
  std::string via;  // "socket" or "token"
};

// A fresh token: what its owner gets to see once, and what is kept.
struct NewToken {
  std::string secret;    // "quench_ID_SECRET"
  TokenChanged changed;  // without `by`
};
NewToken make_token(const TokenRequest& request, std::int64_t now_ms);

class AccessTable {
 public:
  // The user of `uid` owns the service. Throws Error(bad_input) for unknown scopes or users.
  AccessTable(std::uint32_t own_uid, const std::vector<LocalUser>& local_users);

  void apply(const TokenChanged& changed);
  // Whoever is at the other end. Throws HttpProblem(401) when that is nobody known.
  Caller identify(const HttpPeer& peer, std::string_view authorization, std::int64_t now_ms) const;
  std::vector<TokenView> tokens() const;
  // Of a token that is there and not revoked. Throws HttpProblem(404).
  TokenChanged revocation(const std::string& id, const std::string& by, std::int64_t now_ms) const;

 private:
  struct Token {
    TokenView view;
    Digest hash;
  };
  std::uint32_t own_uid_;
  std::map<std::uint32_t, ScopeSet> local_users_;  // by uid
  ScopeSet everybody_;
  std::map<std::string, Token> tokens_;
};

// Throws HttpProblem(403) unless the caller has `scope`.
void require_scope(const Caller& caller, Scope scope);

}  // namespace quench::coordinator
