// What the paths of the table of routes (coordinator/routes.h) mean: which route a request takes, and the OpenAPI document.
#pragma once

#include <map>
#include <string>

#include "coordinator/http/exchange.h"
#include "coordinator/routes.h"

namespace quench::coordinator {

struct RouteMatch {
  const Route* route = nullptr;
  std::map<std::string, std::string> parameters;
};
// Throws HttpProblem: 404 for an unknown path, 405 for a known one with another method.
RouteMatch match_route(const HttpRequest& request);

// OpenAPI 3.1, from the table and the schemas.
std::string openapi_json();

}  // namespace quench::coordinator
