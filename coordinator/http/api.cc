#include "coordinator/http/api.h"

#include <charconv>
#include <fstream>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "coordinator/cli/artifacts.h"
#include "coordinator/clock.h"
#include "coordinator/http/dashboard.h"
#include "coordinator/http/metrics.h"
#include "coordinator/http/views.h"
#include "coordinator/job_report.h"
#include "coordinator/report/html.h"
#include "coordinator/report/json.h"
#include "coordinator/store/keys.h"
#include "schemas/codec.h"
#include "schemas/service_json.h"

namespace quench::coordinator {
namespace {

constexpr std::uint64_t kListMax = 1000;
constexpr std::uint64_t kLogBytesMax = 1u << 20;
constexpr std::int64_t kPriorityMax = 1000;
constexpr std::size_t kResultRefsMax = 100;
constexpr std::size_t kAfterMax = 100;

HttpReply json_reply(std::string body, unsigned status = 200) {
  HttpReply reply;
  reply.status = status;
  reply.body = std::move(body);
  return reply;
}

HttpReply text_reply(std::string body, const char* type = "text/plain; charset=utf-8") {
  HttpReply reply;
  reply.content_type = type;
  reply.body = std::move(body);
  return reply;
}

[[noreturn]] void bad_number(const std::string& what, const std::string& found, std::int64_t low, std::int64_t high) {
  throw HttpProblem(400, "bad_input", what + " \"" + found + "\": expected a whole number from " + std::to_string(low) +
                                          " to " + std::to_string(high));
}

std::int64_t number_in(const std::string& what, const std::string& text, std::int64_t low, std::int64_t high) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high)
    bad_number(what, text, low, high);
  return value;
}

std::int64_t query_number(const HttpRequest& request, const std::string& name, std::int64_t otherwise, std::int64_t low,
                          std::int64_t high) {
  return request.has_query(name) ? number_in(name, request.query_value(name), low, high) : otherwise;
}

// "3,17": sorted, each once.
std::vector<JobNumber> jobs_in(const std::string& text) {
  std::set<JobNumber> numbers;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    numbers.insert(static_cast<JobNumber>(
        number_in("after", text.substr(begin, end - begin), 1, std::numeric_limits<std::int64_t>::max())));
    begin = end + 1;
  }
  if (numbers.size() > kAfterMax)
    throw HttpProblem(400, "bad_input", "after names " + std::to_string(numbers.size()) + " jobs: expected at most " + std::to_string(kAfterMax));
  return {numbers.begin(), numbers.end()};
}

// A misspelt parameter must not be a default.
void check_query(const HttpRequest& request, const Route& route) {
  for (const auto& [key, value] : request.query) {
    bool known = false;
    std::string names;
    for (const std::string query : route.query) {
      const std::string name = query.substr(0, query.find(':'));
      known = known || name == key;
      names += (names.empty() ? "" : ", ") + name;
    }
    if (!known)
      throw HttpProblem(400, "bad_input", "unknown parameter \"" + key + "\"" +
                                              (names.empty() ? ": there are none here" : ": expected " + names));
  }
}

std::string body_or_empty(const HttpRequest& request) { return request.body.empty() ? "{}" : request.body; }

// Words for answer_store_command, whose options begin with a dash.
std::string checked_ref(const std::string& ref) {
  if (!is_digest_prefix(ref)) check_name("ref", ref);
  return ref;
}

HttpReply store_reply(const ArtifactStore& store, std::vector<std::string> words) {
  // `ls`, `show` and `diff` only read.
  const StoreReply answer = answer_store_command(const_cast<ArtifactStore&>(store), StoreCommand{std::move(words)});
  if (answer.exit_code == exit_code(ErrorCode::bad_input)) throw HttpProblem(404, "not_found", answer.err);
  if (answer.exit_code != 0) throw Error(ErrorCode::failed, answer.err);
  return json_reply(answer.out);
}

std::optional<std::uint64_t> last_event(const HttpRequest& request) {
  if (request.last_event_id.empty()) return std::nullopt;
  return number_in("Last-Event-ID", request.last_event_id, 0, std::numeric_limits<std::int64_t>::max());
}

JobNumber job_number(const std::map<std::string, std::string>& parameters) {
  return static_cast<JobNumber>(
      number_in("job", parameters.at("id"), 1, std::numeric_limits<std::int64_t>::max()));
}

}  // namespace

Api::Api(Daemon& daemon) : daemon_(daemon) {
  for (auto&& group : {open_handlers(), job_handlers(), store_handlers(), token_handlers(), transfer_handlers()})
    for (auto&& [name, handler] : group) handlers_[name] = handler;
  for (const Route& route : routes())
    if (route.port == Port::http) QUENCH_CHECK(handlers_.contains(route.name), route.name);
}

void Api::answer(HttpRequest request, std::function<void(HttpReply)> reply) {
  try {
    if (const DashboardFile* file = dashboard_file(request)) return reply(dashboard_reply(*file));
    RouteMatch match = match_route(request);
    const Route& route = *match.route;
    Call call{std::move(request), std::move(match.parameters), {}, reply};
    if (route.scope != Scope::open) {
      call.caller = daemon_.access().identify(call.request.peer, call.request.authorization, unix_now_ms());
      require_scope(call.caller, route.scope);
    }
    check_query(call.request, route);
    handlers_.at(route.name)(call);
  } catch (const Error& error) {
    reply(problem_reply(error));
  }
}

void Api::aside(const Call& call, std::function<HttpReply()> work) {
  daemon_.run_aside([work = std::move(work), reply = call.reply]() -> std::function<void()> {
    HttpReply done;
    try {
      done = work();
    } catch (const Error& error) {
      done = problem_reply(error);
    }
    return [reply, done = std::move(done)] { reply(done); };
  });
}

QueueCaller Api::queue_caller(const Call& call) const {
  return {call.caller.user, call.caller.scopes.has(Scope::admin)};
}

std::map<std::string, Api::Handler> Api::open_handlers() {
  return {
      {"health", [](Call& call) { call.reply(text_reply("ok\n")); }},
      {"ready",
       [this](Call& call) {
         const QueueState& queue = daemon_.queue();
         HttpReply reply = text_reply("ready\n");
         if (queue.stopping || !queue.store_fault.empty()) {
           reply.status = 503;
           reply.body = queue.stopping ? "stopping\n" : "the store takes no writes\n";
         }
         call.reply(reply);
       }},
      {"openapi", [](Call& call) { call.reply(text_reply(openapi_json(), "application/openapi+json")); }},
      {"metrics",
       [this](Call& call) {
         call.reply(text_reply(metrics_text(daemon_, server_), "application/openmetrics-text; version=1.0.0; charset=utf-8"));
       }},
      {"whoami",
       [this](Call& call) {
         const QueueState& queue = daemon_.queue();
         const std::string& user = call.caller.user;
         CallerView view{user, call.caller.scopes.names(), call.caller.via};
         view.jobs = active_jobs(queue, user);
         view.jobs_max = queue.limits.jobs_per_user_max;
         view.bytes = planned_bytes(queue, user);
         view.bytes_max = queue.limits.bytes_per_user_max;
         aside(call, [this, view, work = daemon_.work_of(user)]() mutable {
           view.bytes += daemon_.stored_bytes(view.user, work);
           return json_reply(to_json(view));
         });
       }},
  };
}

std::map<std::string, Api::Handler> Api::job_handlers() {
  return {
      {"list_jobs", [this](Call& call) { list_jobs(call); }},
      {"submit_job", [this](Call& call) { submit(call); }},
      {"show_job", [this](Call& call) { show_job(call); }},
      {"job_file",
       [this](Call& call) {
         call.reply(json_reply(job_to_json(queued_job(daemon_.queue(), job_number(call.parameters)).job)));
       }},
      {"cancel_job",
       [this](Call& call) {
         const JobNumber number = job_number(call.parameters);
         const auto asked = from_json<CancelRequest>(body_or_empty(call.request), "the request's body");
         daemon_.cancel(number, asked.reason.substr(0, 1000), queue_caller(call));
         call.reply(json_reply(to_json(daemon_.view(number))));
       }},
      {"retry_job",
       [this](Call& call) {
         const JobNumber number = job_number(call.parameters);
         daemon_.retry(number, queue_caller(call));
         call.reply(json_reply(to_json(daemon_.view(number))));
       }},
      {"job_log", [this](Call& call) { call.reply(log_of(call)); }},
      {"job_events",
       [this](Call& call) {
         const JobNumber number = queued_job(daemon_.queue(), job_number(call.parameters)).number;
         HttpReply reply;
         reply.feed = daemon_.events()->feed(number, last_event(call.request), to_json(daemon_.view(number)));
         call.reply(std::move(reply));
       }},
      {"events",
       [this](Call& call) {
         HttpReply reply;
         reply.feed = daemon_.events()->feed(std::nullopt, last_event(call.request));
         call.reply(std::move(reply));
       }},
  };
}

std::map<std::string, Api::Handler> Api::store_handlers() {
  const auto finished_report = [this](Call& call, auto write) {
    const QueuedJob& job = queued_job(daemon_.queue(), job_number(call.parameters));
    if (job.state != JobState::done)
      throw HttpProblem(409, "wrong_state", "job " + std::to_string(job.number) + " is " + std::string(to_string(job.state)) +
                                                ": results are there once it is done");
    aside(call, [this, id = job.job_id, write] {
      const std::optional<State> state = find_job(daemon_.store(), id);
      if (!state) throw Error(ErrorCode::failed, "the store has no journal of this job");
      return write(report_job(daemon_.store(), *state));
    });
  };
  return {
      {"job_results",
       [finished_report](Call& call) {
         finished_report(call, [](const JobReport& report) { return json_reply(report_to_json(report) + "\n"); });
       }},
      {"job_report",
       [finished_report](Call& call) {
         finished_report(call, [](const JobReport& report) {
           return text_reply(report_to_html(report), "text/html; charset=utf-8");
         });
       }},
      {"list_artifacts",
       [this](Call& call) {
         aside(call, [this] { return store_reply(daemon_.store(), {"ls", "--json"}); });
       }},
      {"show_artifact",
       [this](Call& call) {
         aside(call, [this, ref = checked_ref(call.parameters.at("ref"))] {
           return store_reply(daemon_.store(), {"show", ref, "--json"});
         });
       }},
      {"artifact_difference",
       [this](Call& call) {
         aside(call, [this, a = checked_ref(call.parameters.at("ref")), b = checked_ref(call.parameters.at("other"))] {
           return store_reply(daemon_.store(), {"diff", a, b, "--json"});
         });
       }},
      {"results",
       [this](Call& call) {
         std::vector<std::string> refs;
         for (const auto& [key, value] : call.request.query) refs.push_back(checked_ref(value));
         if (refs.empty() || refs.size() > kResultRefsMax)
           throw HttpProblem(400, "bad_input", "expected 1 to " + std::to_string(kResultRefsMax) + " parameters \"ref\"");
         aside(call, [this, refs] { return json_reply(report_to_json(report_refs(daemon_.store(), refs)) + "\n"); });
       }},
      {"set_name",
       [this](Call& call) {
         const std::string name = call.parameters.at("name");
         check_name("name", name);
         const auto asked = from_json<NameRequest>(body_or_empty(call.request), "the request's body");
         const Digest artifact = daemon_.store().resolve(checked_ref(asked.artifact));
         daemon_.set_name(name, artifact, call.caller.user);
         call.reply(json_reply(nlohmann::ordered_json{{"name", name}, {"digest", artifact.hex()}}.dump() + "\n"));
       }},
  };
}

std::map<std::string, Api::Handler> Api::token_handlers() {
  const auto token_view = [this](const std::string& id) {
    for (const TokenView& view : daemon_.access().tokens())
      if (view.id == id) return view;
    throw HttpProblem(404, "not_found", "there is no token " + id);
  };
  return {
      {"list_tokens", [this](Call& call) { call.reply(json_reply(to_json(TokenList{daemon_.access().tokens()}))); }},
      {"create_token",
       [this, token_view](Call& call) {
         const auto asked = from_json<TokenRequest>(call.request.body, "the request's body");
         const NewToken token = daemon_.create_token(asked, call.caller.user);
         call.reply(json_reply(to_json(TokenCreated{token.secret, token_view(token.changed.id)}), 201));
       }},
      {"revoke_token",
       [this, token_view](Call& call) {
         daemon_.revoke_token(call.parameters.at("id"), call.caller.user);
         call.reply(json_reply(to_json(token_view(call.parameters.at("id")))));
       }},
      {"audit",
       [this](Call& call) {
         const auto limit = static_cast<std::size_t>(query_number(call.request, "limit", kListMax, 1, 1'000'000));
         aside(call, [this, limit] {
           const std::vector<quench::JournalEvent> events = daemon_.journal();
           AuditLog log;
           for (std::size_t i = events.size() > limit ? events.size() - limit : 0; i < events.size(); ++i)
             log.entries.push_back(audit_entry(events[i]));
           return json_reply(to_json(log));
         });
       }},
  };
}

void Api::submit(const Call& call) {
  const std::int64_t priority = query_number(call.request, "priority", 0, -kPriorityMax, kPriorityMax);
  if (priority > 0) require_scope(call.caller, Scope::admin);
  const std::vector<JobNumber> after = jobs_in(call.request.query_value("after"));
  // A relative path has nothing that it could be relative to.
  const JobSpec job = parse_job(call.request.body, "the job", "/");
  daemon_.run_aside([this, call, job, priority, after, work = daemon_.work_of(call.caller.user)]() -> std::function<void()> {
    try {
      const JobSpec checked = daemon_.check_submission(job);
      SubmittedBytes bytes;
      if (daemon_.config().bytes_per_user_max > 0) bytes = {bytes_to_publish(checked), daemon_.stored_bytes(call.caller.user, work)};
      return [this, call, priority, after, checked, bytes] {
        try {
          const JobNumber number = daemon_.submit(checked, static_cast<std::int32_t>(priority), queue_caller(call), bytes, after);
          HttpReply reply = json_reply(to_json(daemon_.view(number)), 201);
          reply.headers.emplace_back("Location", "/v1/jobs/" + std::to_string(number));
          call.reply(std::move(reply));
        } catch (const Error& error) {
          call.reply(problem_reply(error));
        }
      };
    } catch (const Error& error) {
      return [call, refused = problem_reply(error)] { call.reply(refused); };
    }
  });
}

void Api::list_jobs(const Call& call) {
  const QueueState& state = daemon_.queue();
  const QueueSurvey queue = survey(state, unix_now_ms());
  const std::string wanted = call.request.query_value("state"), user = call.request.query_value("user");
  const auto limit = static_cast<std::size_t>(query_number(call.request, "limit", kListMax, 1, 100'000));
  JobList list;
  list.slots = state.limits.slots;
  list.slots_used = queue.slots_used;
  list.queued_max = state.limits.queued_max;
  for (auto entry = state.jobs.rbegin(); entry != state.jobs.rend() && list.jobs.size() < limit; ++entry) {
    const QueuedJob& job = entry->second;
    if ((!wanted.empty() && wanted != to_string(job.state)) || (!user.empty() && user != job.user)) continue;
    list.jobs.push_back(job_view(state, queue, job, daemon_.job_run(job.number)));
  }
  // Writing a thousand takes tens of milliseconds.
  aside(call, [list = std::move(list)] { return json_reply(to_json(list)); });
}

void Api::show_job(const Call& call) {
  const QueuedJob& job = queued_job(daemon_.queue(), job_number(call.parameters));
  auto detail = std::make_shared<JobDetail>();
  detail->job = daemon_.view(job.number);
  const JobRun* const run = daemon_.job_run(job.number);
  if (run != nullptr && run->state() != nullptr) {
    describe_state(*detail, *run->state());
  } else {
    describe_plan(*detail, job.job);
  }
  const bool from_store = (run == nullptr || run->state() == nullptr) && !job.job_id.is_none();
  detail->history = daemon_.history(job.number);
  if (!from_store) return call.reply(json_reply(to_json(*detail)));
  aside(call, [this, detail, id = job.job_id] {
    if (const std::optional<State> state = find_job(daemon_.store(), id)) describe_state(*detail, *state);
    return json_reply(to_json(*detail));
  });
}

HttpReply Api::log_of(const Call& call) const {
  const QueuedJob& job = queued_job(daemon_.queue(), job_number(call.parameters));
  const std::int64_t from = query_number(call.request, "from", 0, 0, std::numeric_limits<std::int64_t>::max());
  const std::int64_t bytes = query_number(call.request, "bytes", kLogBytesMax, 1, kLogBytesMax);
  std::string text;
  if (!job.job_id.is_none()) {
    std::ifstream in(log_file(daemon_.store(), job.job_id), std::ios::binary);
    in.seekg(from);
    text.resize(static_cast<std::size_t>(bytes));
    in.read(text.data(), bytes);
    text.resize(static_cast<std::size_t>(std::max<std::streamsize>(0, in.gcount())));
  }
  HttpReply reply = text_reply(text);
  reply.headers.emplace_back("Quench-Log-Next", std::to_string(from + static_cast<std::int64_t>(text.size())));
  return reply;
}

}  // namespace quench::coordinator
