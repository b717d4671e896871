#include "coordinator/http/paths.h"

#include <cctype>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "schemas/build_id.h"
#include "schemas/service_json.h"

namespace quench::coordinator {
namespace {

using nlohmann::ordered_json;

std::vector<std::string> parts_of(std::string_view path) {
  std::vector<std::string> parts;
  path.remove_prefix(1);
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    parts.emplace_back(path.substr(0, slash));
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  return parts;
}

bool is_parameter(std::string_view part) { return part.starts_with('{'); }
std::string parameter_name(std::string_view part) { return std::string(part.substr(1, part.size() - 2)); }

std::optional<RouteMatch> match(const Route& route, const std::vector<std::string>& segments) {
  const std::vector<std::string> parts = parts_of(route.path);
  if (parts.size() != segments.size()) return std::nullopt;
  RouteMatch found{&route, {}};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (is_parameter(parts[i])) {
      found.parameters[parameter_name(parts[i])] = segments[i];
    } else if (parts[i] != segments[i]) {
      return std::nullopt;
    }
  }
  return found;
}

ordered_json content_of(const std::string& type) {
  if (type.find('/') != std::string::npos) return {{type, ordered_json::object()}};
  return {{"application/json", {{"schema", {{"$ref", "#/components/schemas/" + type}}}}}};
}

ordered_json operation_of(const Route& route) {
  ordered_json operation = {{"operationId", route.name}, {"summary", route.summary}};
  ordered_json parameters = ordered_json::array();
  for (const std::string& part : parts_of(route.path))
    if (is_parameter(part))
      parameters.push_back({{"name", parameter_name(part)}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}});
  for (const std::string query : route.query) {
    const std::size_t colon = query.find(": ");
    parameters.push_back({{"name", query.substr(0, colon)}, {"in", "query"}, {"description", query.substr(colon + 2)}, {"schema", {{"type", "string"}}}});
  }
  if (!parameters.empty()) operation["parameters"] = std::move(parameters);
  if (*route.request != '\0') operation["requestBody"] = {{"content", content_of(route.request)}};
  operation["responses"] = {{"200", {{"description", "done"}, {"content", content_of(route.reply)}}},
                            {"default", {{"description", "refused or failed"}, {"content", content_of("ApiProblem")}}}};
  if (route.scope == Scope::open) {
    operation["security"] = ordered_json::array();
  } else {
    operation["x-scope"] = to_string(route.scope);
    operation["security"] = ordered_json::array({{{"token", ordered_json::array()}}});
  }
  return operation;
}

}  // namespace

RouteMatch match_route(const HttpRequest& request) {
  std::string allowed;
  for (const Route& route : routes()) {
    if (route.port != Port::http) continue;
    std::optional<RouteMatch> found = match(route, request.segments);
    if (!found) continue;
    if (request.method == route.method) return *std::move(found);
    allowed += std::string(allowed.empty() ? "" : ", ") + route.method;
  }
  if (!allowed.empty())
    throw HttpProblem(405, "method_not_allowed", "this path does not take " + request.method + ", only " + allowed);
  throw HttpProblem(404, "not_found", std::string(kNothingHere) + ": /openapi.json lists what there is");
}

std::string openapi_json() {
  ordered_json document = {{"openapi", "3.1.0"},
                           {"info", {{"title", "Quench"}, {"version", kBuildId}, {"license", {{"name", "Apache-2.0"}, {"identifier", "Apache-2.0"}}}}},
                           {"paths", ordered_json::object()}};
  for (const Route& route : routes()) {
    if (route.port != Port::http) continue;
    std::string method = route.method;
    for (char& c : method) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    document["paths"][route.path][method] = operation_of(route);
  }
  document["components"]["schemas"] = ordered_json::parse(service_shapes_json());
  document["components"]["securitySchemes"]["token"] = {{"type", "http"}, {"scheme", "bearer"}};
  return document.dump(2);
}

}  // namespace quench::coordinator
