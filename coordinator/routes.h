// The one table of what the service takes and from whom: on HTTP, and on the port where workers dial in, of which every
// message is a route. Handlers, access checks, the OpenAPI document and the tests that try every route with every kind of
// caller are made from it.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "schemas/messages.h"

namespace quench::coordinator {

// None includes another, but that `admin` includes all of those before it. Those behind it are no token's: what a peer on
// the worker port has shown to be by the secret of its gang (`rank`) or of STORE/join (`evaluator`; `worker` is either),
// and what only the coordinator says.
enum class Scope : std::uint8_t { open, read, submit, publish, admin, rank, evaluator, worker, coordinator };
std::string_view to_string(Scope scope);

enum class Port { http, worker };

struct Route {
  const char* name;  // of its handler, and its operation in the OpenAPI document; a message's name in wire.capnp
  const char* method;  // "SEND" of a message
  const char* path;  // "/v1/jobs/{id}"; "" of a message
  Scope scope;       // open: without a token
  const char* summary;
  const char* request;  // the body's type in service.capnp; "": none
  const char* reply;    // the same of the answer, or its media type
  std::vector<const char*> query;  // parameters, each "name: what"
  Port port = Port::http;
};

const std::vector<Route>& routes();

// Whether the worker port takes the message from a peer that has shown to be `role`. Each message has a route.
bool may_send(PeerRole role, const Message& message);

}  // namespace quench::coordinator
