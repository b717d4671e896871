// The one table of what the service answers on HTTP. Handlers, access checks, the OpenAPI document and the tests that
// try every route are made from it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/http/access.h"
#include "coordinator/http/exchange.h"

namespace quench::coordinator {

struct Route {
  const char* name;  // of its handler, and its operation in the OpenAPI document
  const char* method;
  const char* path;  // "/v1/jobs/{id}"
  Scope scope;       // open: without a token
  const char* summary;
  const char* request;  // the body's type in service.capnp; "": none
  const char* reply;    // the same of the answer, or its media type
  std::vector<const char*> query;  // parameters, each "name: what"
};

const std::vector<Route>& routes();

struct RouteMatch {
  const Route* route = nullptr;
  std::map<std::string, std::string> parameters;
};
// Throws HttpProblem: 404 for an unknown path, 405 for a known one with another method.
RouteMatch match_route(const HttpRequest& request);

// OpenAPI 3.1, from the table and the schemas.
std::string openapi_json();

}  // namespace quench::coordinator
