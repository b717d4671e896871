#include "coordinator/http/routes.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "schemas/build_id.h"
#include "schemas/service_json.h"
#include "schemas/value_fields.h"

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

const std::vector<Route>& routes() {
  static const std::vector<Route> kRoutes = {
      {"health", "GET", "/healthz", Scope::open, "the process answers", "", "text/plain", {}},
      {"ready", "GET", "/readyz", Scope::open, "the service takes jobs: its store can be written and it is not stopping", "", "text/plain", {}},
      {"openapi", "GET", "/openapi.json", Scope::open, "this document", "", "application/openapi+json", {}},
      {"metrics", "GET", "/metrics", Scope::read, "OpenMetrics", "", "application/openmetrics-text", {}},
      {"whoami", "GET", "/v1/whoami", Scope::read, "who the caller is and what he may do", "", "CallerView", {}},
      {"list_jobs", "GET", "/v1/jobs", Scope::read, "jobs, the newest first, with why each one waits", "", "JobList",
       {"state: only those in this state", "user: only this user's", "limit: at most so many (1000)"}},
      {"submit_job", "POST", "/v1/jobs", Scope::submit, "queues the job file in the body; its paths are those of the service's host", "JobSpec", "JobView",
       {"priority: -1000 to 1000, larger ones go first (0); above 0 takes the scope admin",
        "after: numbers of jobs, with commas between them, that must be done before it starts"}},
      {"show_job", "GET", "/v1/jobs/{id}", Scope::read, "one job: blocks and their losses, evaluations, workers, history", "", "JobDetail", {}},
      {"job_file", "GET", "/v1/jobs/{id}/job", Scope::read, "its job file", "", "JobSpec", {}},
      {"cancel_job", "POST", "/v1/jobs/{id}/cancel", Scope::submit, "cancels a job that waits or is at work", "CancelRequest", "JobView", {}},
      {"retry_job", "POST", "/v1/jobs/{id}/retry", Scope::submit, "queues a failed or cancelled job again; what it has committed is kept", "", "JobView", {}},
      {"job_log", "GET", "/v1/jobs/{id}/logs", Scope::read, "its log; the header Quench-Log-Next says where to go on", "", "text/plain",
       {"from: the byte to begin with (0)", "bytes: at most so many (1048576)"}},
      {"job_events", "GET", "/v1/jobs/{id}/events", Scope::read, "its events as they come: job, progress, block, log", "", "text/event-stream", {}},
      {"job_results", "GET", "/v1/jobs/{id}/results", Scope::read, "the report of a finished job, as `quench report --json` prints it", "", "application/json", {}},
      {"job_report", "GET", "/v1/jobs/{id}/report", Scope::read, "the same as a page", "", "text/html", {}},
      {"events", "GET", "/v1/events", Scope::read, "events of all jobs as they come", "", "text/event-stream", {}},
      {"list_artifacts", "GET", "/v1/artifacts", Scope::read, "names with digest, size and bits, as `quench artifacts ls --json`", "", "application/json", {}},
      {"show_artifact", "GET", "/v1/artifacts/{ref}", Scope::read, "a manifest; the ref is one escaped path segment", "", "application/json", {}},
      {"artifact_difference", "GET", "/v1/artifacts/{ref}/difference/{other}", Scope::read, "what differs between two, as `quench artifacts diff --json`", "", "application/json", {}},
      {"results", "GET", "/v1/results", Scope::read, "scores of artifacts, and of every two of them the comparison", "", "application/json", {"ref: a name or digest; several may be given"}},
      {"set_name", "PUT", "/v1/names/{name}", Scope::publish, "points a name at an artifact", "NameRequest", "application/json", {}},
      {"store_ref", "GET", "/v1/store/refs/{ref}", Scope::read, "what a name or digest means: its digest, and the name where it is one", "", "application/json", {}},
      {"store_object", "GET", "/v1/store/objects/{digest}", Scope::read, "a manifest's bytes with its chunks, names, run records and signatures", "", "application/json", {}},
      {"store_chunk", "GET", "/v1/store/chunks/{digest}", Scope::read, "a chunk's bytes", "", "application/octet-stream", {}},
      {"claim_chunks", "POST", "/v1/store/claims", Scope::publish, "which of these chunks are missing; the others stay until they are published or given up", "application/json", "application/json", {}},
      {"put_chunk", "PUT", "/v1/store/chunks/{digest}", Scope::publish, "stores a chunk, to be published within two days", "application/octet-stream", "application/json", {}},
      {"publish", "POST", "/v1/store/publishes", Scope::publish, "publishes manifests, their records and names, all at once or not at all", "application/json", "application/json", {}},
      {"list_tokens", "GET", "/v1/tokens", Scope::admin, "tokens, without their secrets", "", "TokenList", {}},
      {"create_token", "POST", "/v1/tokens", Scope::admin, "makes a token; it is shown this once", "TokenRequest", "TokenCreated", {}},
      {"revoke_token", "DELETE", "/v1/tokens/{id}", Scope::admin, "ends a token", "", "TokenView", {}},
      {"audit", "GET", "/v1/audit", Scope::admin, "who changed what, oldest first", "", "AuditLog", {"limit: the newest so many (1000)"}},
      {"hello", "SEND", "", Scope::open, "who it is, with the proof that it knows the secret; nothing else is taken before", "", "", {}, Port::worker},
      {"heartbeat", "SEND", "", Scope::worker, "it lives", "", "", {}, Port::worker},
      {"failure", "SEND", "", Scope::worker, "why it is about to end", "", "", {}, Port::worker},
      {"logLine", "SEND", "", Scope::worker, "a line for the log", "", "", {}, Port::worker},
      {"workerStatus", "SEND", "", Scope::worker, "memory, GPUs, power", "", "", {}, Port::worker},
      {"usageDone", "SEND", "", Scope::worker, "what a phase took", "", "", {}, Port::worker},
      {"manifestRequest", "SEND", "", Scope::worker, "a manifest of the store", "", "", {}, Port::worker},
      {"chunkRequest", "SEND", "", Scope::worker, "a chunk of the store", "", "", {}, Port::worker},
      {"chunkPut", "SEND", "", Scope::rank, "a chunk of a block", "", "", {}, Port::worker},
      {"outerDone", "SEND", "", Scope::rank, "tensors outside of the blocks are stored", "", "", {}, Port::worker},
      {"blockDone", "SEND", "", Scope::rank, "a block is stored", "", "", {}, Port::worker},
      {"artifactDone", "SEND", "", Scope::rank, "all blocks are stored", "", "", {}, Port::worker},
      {"progress", "SEND", "", Scope::rank, "what it is doing", "", "", {}, Port::worker},
      {"resuming", "SEND", "", Scope::rank, "it comes from a coordinator that was lost", "", "", {}, Port::worker},
      {"benchmarkInfo", "SEND", "", Scope::evaluator, "the tasks of a benchmark", "", "", {}, Port::worker},
      {"leaseRequest", "SEND", "", Scope::evaluator, "asks for completions to make, hands in what was generated", "", "", {}, Port::worker},
      {"leaseRenewal", "SEND", "", Scope::evaluator, "work on a lease goes on", "", "", {}, Port::worker},
      {"verdictsDone", "SEND", "", Scope::evaluator, "the verdicts of a lease", "", "", {}, Port::worker},
      {"challenge", "SEND", "", Scope::coordinator, "what the coordinator says", "", "", {}, Port::worker},
      {"welcome", "SEND", "", Scope::coordinator, "what the coordinator says", "", "", {}, Port::worker},
      {"refused", "SEND", "", Scope::coordinator, "what the coordinator says", "", "", {}, Port::worker},
      {"quantizeOrder", "SEND", "", Scope::coordinator, "what the coordinator says", "", "", {}, Port::worker},
      {"evaluateOrder", "SEND", "", Scope::coordinator, "what the coordinator says", "", "", {}, Port::worker},
      {"exitOrder", "SEND", "", Scope::coordinator, "what the coordinator says", "", "", {}, Port::worker},
      {"chunkStored", "SEND", "", Scope::coordinator, "what the coordinator says", "", "", {}, Port::worker},
      {"blockCommitted", "SEND", "", Scope::coordinator, "what the coordinator says", "", "", {}, Port::worker},
      {"leaseGrant", "SEND", "", Scope::coordinator, "what the coordinator says", "", "", {}, Port::worker},
      {"manifestReply", "SEND", "", Scope::coordinator, "what the coordinator says", "", "", {}, Port::worker},
      {"chunkReply", "SEND", "", Scope::coordinator, "what the coordinator says", "", "", {}, Port::worker},
      {"storeReply", "SEND", "", Scope::coordinator, "what the coordinator says", "", "", {}, Port::worker},
      {"requestFailed", "SEND", "", Scope::coordinator, "what the coordinator says", "", "", {}, Port::worker},
      {"usageKept", "SEND", "", Scope::coordinator, "what the coordinator says", "", "", {}, Port::worker},
      {"resumed", "SEND", "", Scope::coordinator, "what the coordinator says", "", "", {}, Port::worker},
      {"storeCommand", "SEND", "", Scope::coordinator, "readers on the socket of the store say it, which no worker reaches", "", "", {}, Port::worker},
  };
  return kRoutes;
}

namespace {

template <std::size_t... kIndex>
std::array<Scope, sizeof...(kIndex)> scopes_of_messages(std::index_sequence<kIndex...>) {
  const auto scope_of = [](std::string_view name) {
    const auto route = std::find_if(routes().begin(), routes().end(),
                                    [&](const Route& one) { return one.port == Port::worker && one.name == name; });
    QUENCH_CHECK(route != routes().end(), name);
    return route->scope;
  };
  return {scope_of(kAlternativeName<std::variant_alternative_t<kIndex, Message>>)...};
}

}  // namespace

bool may_send(PeerRole role, const Message& message) {
  static const auto kScopes = scopes_of_messages(std::make_index_sequence<std::variant_size_v<Message>>());
  const Scope scope = kScopes[message.index()];
  return scope == Scope::worker || scope == (role == PeerRole::rank ? Scope::rank : Scope::evaluator);
}

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
