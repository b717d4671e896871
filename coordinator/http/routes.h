// The one table of what the service takes and from whom: on HTTP, and on the port where workers dial in, of which every
// message is a route. Handlers, access checks, the OpenAPI document and the tests that try every route with every kind of
// caller are made from it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/http/access.h"
#include "coordinator/http/exchange.h"
#include "schemas/messages.h"

namespace quench::coordinator {

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

struct RouteMatch {
  const Route* route = nullptr;
  std::map<std::string, std::string> parameters;
};
// Throws HttpProblem: 404 for an unknown path, 405 for a known one with another method.
RouteMatch match_route(const HttpRequest& request);

// OpenAPI 3.1, from the table and the schemas.
std::string openapi_json();

}  // namespace quench::coordinator
