#include "coordinator/routes.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "schemas/value_fields.h"

namespace quench::coordinator {
namespace {

constexpr std::array<std::string_view, 9> kScopeNames = {"open", "read",      "submit", "publish",    "admin",
                                                         "rank", "evaluator", "worker", "coordinator"};

}  // namespace

std::string_view to_string(Scope scope) { return kScopeNames[static_cast<std::size_t>(scope)]; }

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

}  // namespace quench::coordinator
