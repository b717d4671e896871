#include "coordinator/cli/remote.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/progress.h"
#include "coordinator/clock.h"
#include "coordinator/http/exchange.h"
#include "coordinator/report/words.h"
#include "schemas/codec.h"
#include "schemas/service_json.h"
#include "schemas/small_file.h"

namespace quench::coordinator {
namespace {

using nlohmann::json;

constexpr std::size_t kTokenFileBytesMax = 4096;
// A service that is started again is waited for so long by those who watch.
constexpr std::chrono::seconds kReturnMax{60};
constexpr std::chrono::milliseconds kPause{500};

std::string variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

json parsed(const std::string& text) {
  json value = json::parse(text, nullptr, false);
  if (value.is_discarded()) throw Error(ErrorCode::corrupt, "the service answered something that is not JSON");
  return value;
}

std::string job_target(const RemoteArguments& arguments, const std::string& rest = {}) {
  std::string target = "/v1/jobs/";
  target += escape_segment(arguments.id);
  return target += rest;
}

// Text of a service may hold what a terminal would obey.
std::string printable(const std::string& text) {
  std::string out;
  for (const char c : text) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return out;
}

std::string text_of(const json& object, const char* key) {
  const auto found = object.find(key);
  return found == object.end() || !found->is_string() ? "" : printable(found->get<std::string>());
}

std::string progress_text(const json& job) {
  const auto found = job.find("progress");
  if (found == job.end() || found->value("total", 0) == 0) return found == job.end() ? "" : text_of(*found, "step");
  std::string text = fmt::format("{}: {} of {}", text_of(*found, "what"), found->value("done", 0), found->value("total", 0));
  if (const double left = found->value("seconds_left", -1.0); left >= 0) text += ", about " + duration_text(left) + " left";
  return text;
}

std::string job_line(const json& job) {
  const std::string about = job.value("state", "") == "running" ? progress_text(job) : text_of(job, "reason");
  return fmt::format("{:>6} {:<24} {:<12} {:<10} {:>5}  {}\n", job.value("id", 0), text_of(job, "name"), text_of(job, "user"),
                     text_of(job, "state"), job.value("ranks", 0), about);
}

void print_jobs(const json& list) {
  std::cout << fmt::format("{:>6} {:<24} {:<12} {:<10} {:>5}  {}\n", "job", "name", "user", "state", "ranks", "about");
  for (const json& job : list.at("jobs")) std::cout << job_line(job);
  std::cout << fmt::format("{} of {} ranks are at work\n", list.value("slots_used", 0), list.value("slots", 0));
}

// "212 MB, no GPU, 85 W"; nothing before the worker has said it.
std::string hardware_text(const json& worker) {
  const std::uint64_t memory = worker.value("memory_bytes", std::uint64_t{0});
  if (memory == 0) return "";
  std::string text = fmt::format("{} MB", memory / 1'000'000);
  if (worker.at("gpus").empty()) text += ", no GPU";
  for (const json& gpu : worker.at("gpus"))
    text += fmt::format(", {} with {} of {} MB", text_of(gpu, "name"), gpu.value("used_bytes", std::uint64_t{0}) / 1'000'000,
                        gpu.value("total_bytes", std::uint64_t{0}) / 1'000'000);
  const double watts = worker.value("watts", -1.0);
  return text + (watts < 0 ? ", no power counter" : fmt::format(", {:.0f} W", watts));
}

void print_detail(const json& detail) {
  const json& job = detail.at("job");
  std::cout << job_line(job);
  for (const json& artifact : detail.at("artifacts")) {
    const json digest = artifact.value("digest", json());
    std::cout << fmt::format("       {:<32} {}\n", text_of(artifact, "name"),
                             digest.is_string() ? "published " + digest.get<std::string>().substr(0, 12)
                                                : fmt::format("{} of {} blocks", artifact.value("blocks_done", 0),
                                                              artifact.value("blocks_total", 0)));
  }
  for (const json& evaluation : detail.at("evaluations"))
    std::cout << fmt::format("       {:<32} {} of {} completions{}\n",
                             text_of(evaluation, "artifact") + " " + text_of(evaluation, "benchmark"), evaluation.value("done", 0),
                             evaluation.value("total", 0), evaluation.value("complete", false) ? ", complete" : "");
  for (const json& worker : detail.at("workers"))
    std::cout << fmt::format("       {} {} on {}  {}  {}\n", text_of(worker, "role"), worker.value("number", -1),
                             text_of(worker, "host"), text_of(worker, "work"), hardware_text(worker));
}

bool is_over(const std::string& state) { return state == "done" || state == "failed" || state == "cancelled"; }

// What `quench run` would have ended with.
int exit_code_of(const json& job) {
  const std::string state = job.value("state", "");
  if (state == "done") return 0;
  const std::string code = job.value("error_code", "");
  return state == "failed" && !code.empty() ? exit_code(error_code_from_string(code)) : exit_code(ErrorCode::failed);
}

int end_watching(const json& job) {
  const std::string reason = text_of(job, "reason");
  std::cerr << "job " << job.value("id", 0) << " is " << job.value("state", "") << (reason.empty() ? "" : ": ") << reason << "\n";
  return exit_code_of(job);
}

[[noreturn]] void throw_refusal(const HttpAnswer& answer) {
  const json problem = json::parse(answer.body, nullptr, false);
  const auto told = problem.is_object() ? problem.find("message") : problem.end();
  const std::string message = told != problem.end() && told->is_string()
                                  ? told->get<std::string>()
                                  : "the service answered with status " + std::to_string(answer.status);
  switch (answer.status) {
    case 401:
    case 403: throw Error(ErrorCode::refused, message);
    case 429:
    case 500:
    case 503: throw Error(ErrorCode::failed, message);
    default: throw Error(ErrorCode::bad_input, message);
  }
}

// One event for a person.
void print_event(const StreamedEvent& event) {
  const json data = parsed(event.data);
  if (event.type == "log") std::cerr << text_of(data, "text") << "\n";
  if (event.type == "job") std::cerr << job_line(data);
  if (event.type == "progress" && data.at("progress").value("step", "").empty()) std::cerr << progress_text(data) << "\n";
}

}  // namespace

ServiceAddress service_address(const std::filesystem::path& store) {
  const std::string url = variable("QUENCH_URL");
  ServiceAddress address;
  if (!url.empty() && store.empty()) {
    address = in_context("QUENCH_URL", [&] { return ServiceAddress::parse(url); });
  } else {
    address.socket = std::filesystem::absolute(store_directory(store)) / "http.sock";
  }
  address.token = variable("QUENCH_TOKEN");
  if (const std::string file = variable("QUENCH_TOKEN_FILE"); address.token.empty() && !file.empty()) {
    address.token = read_small_file(file, kTokenFileBytesMax);
    while (!address.token.empty() && std::isspace(static_cast<unsigned char>(address.token.back())) != 0)
      address.token.pop_back();
  }
  address.authorities = variable("QUENCH_CA_FILE");
  return address;
}

std::string ask_service(const ServiceAddress& service, const std::string& method, const std::string& target,
                        const std::string& body) {
  return good_body(http_request(service, method, target, body));
}

std::string good_body(HttpAnswer answer) {
  if (answer.status >= 300) throw_refusal(answer);
  return std::move(answer.body);
}

int submit(const SubmitArguments& arguments) {
  JobSpec job = read_job(arguments.job);
  if (arguments.ranks > 0) job.ranks = arguments.ranks;
  const ServiceAddress service = service_address(arguments.remote.store);
  std::string after;
  for (const std::uint64_t number : arguments.after) after += (after.empty() ? "&after=" : ",") + std::to_string(number);
  const std::string target = "/v1/jobs?priority=" + std::to_string(arguments.priority) + after;
  const std::string answer = ask_service(service, "POST", target, job_to_json(job));
  const json view = parsed(answer);
  if (arguments.remote.json) {
    std::cout << answer << "\n";
  } else {
    std::cout << "job " << view.value("id", 0) << " is " << text_of(view, "state")
              << (view.value("state", "") == "queued" ? ": " + text_of(view, "reason") : "") << "\n";
  }
  if (!arguments.watch) return 0;
  RemoteArguments one = arguments.remote;
  one.id = std::to_string(view.value("id", 0));
  return watch(one);
}

int status(const RemoteArguments& arguments) {
  const ServiceAddress service = service_address(arguments.store);
  const std::string answer = ask_service(service, "GET", arguments.id.empty() ? "/v1/jobs" : job_target(arguments));
  if (arguments.json) {
    std::cout << answer << "\n";
  } else if (arguments.id.empty()) {
    print_jobs(parsed(answer));
  } else {
    print_detail(parsed(answer));
  }
  return 0;
}

int watch(const RemoteArguments& arguments) {
  const ServiceAddress service = service_address(arguments.store);
  std::string last_id;
  auto last_seen = std::chrono::steady_clock::now();
  while (true) {
    std::optional<json> ended;
    const auto on_event = [&](const StreamedEvent& event) {
      last_seen = std::chrono::steady_clock::now();
      if (!event.id.empty()) last_id = event.id;
      if (arguments.json) {
        std::cout << event.data << "\n" << std::flush;
      } else if (event.type != "lost") {
        print_event(event);
      }
      if (event.type != "job") return true;
      json job = parsed(event.data);
      if (is_over(job.value("state", ""))) ended = std::move(job);
      return !ended;
    };
    try {
      HttpAnswer refusal;
      http_events(service, job_target(arguments, "/events"), last_id, on_event, refusal);
      if (ended) return end_watching(*ended);
      if (refusal.status != 0) throw_refusal(refusal);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::unreachable || std::chrono::steady_clock::now() - last_seen > kReturnMax) throw;
    }
    std::this_thread::sleep_for(kPause);
  }
}

int logs(const RemoteArguments& arguments, bool follow) {
  const ServiceAddress service = service_address(arguments.store);
  std::string from = "0";
  bool over = !follow;
  while (true) {
    const HttpAnswer answer = http_request(service, "GET", job_target(arguments, "/logs?from=" + from));
    if (answer.status != 200) throw_refusal(answer);
    std::cout << answer.body << std::flush;
    from = answer.log_next;
    if (!answer.body.empty()) continue;
    if (over) return 0;
    over = is_over(parsed(ask_service(service, "GET", job_target(arguments))).at("job").value("state", ""));
    if (!over) std::this_thread::sleep_for(kPause);
  }
}

int cancel(const RemoteArguments& arguments, const std::string& reason) {
  const std::string answer = ask_service(service_address(arguments.store), "POST", job_target(arguments, "/cancel"),
                                         json{{"reason", reason}}.dump());
  std::cout << (arguments.json ? answer + "\n" : job_line(parsed(answer)));
  return 0;
}

int retry(const RemoteArguments& arguments) {
  const std::string answer = ask_service(service_address(arguments.store), "POST", job_target(arguments, "/retry"));
  std::cout << (arguments.json ? answer + "\n" : job_line(parsed(answer)));
  return 0;
}

int whoami(const RemoteArguments& arguments) {
  const std::string answer = ask_service(service_address(arguments.store), "GET", "/v1/whoami");
  if (arguments.json) {
    std::cout << answer << "\n";
    return 0;
  }
  const json caller = parsed(answer);
  std::string scopes;
  for (const json& scope : caller.at("scopes")) scopes += (scopes.empty() ? "" : ", ") + scope.get<std::string>();
  const auto megabytes = [&](const char* key) { return (caller.value(key, std::uint64_t{0}) + 999'999) / 1'000'000; };
  std::cout << fmt::format("{} by {}: {}\njobs       {} of {} waiting or at work\n", text_of(caller, "user"), text_of(caller, "via"),
                           scopes, caller.value("jobs", 0), caller.value("jobs_max", 0));
  std::cout << fmt::format("artifacts  {} MB published or planned, {}\n", megabytes("bytes"),
                           caller.value("bytes_max", std::uint64_t{0}) == 0 ? "without a limit"
                                                                            : fmt::format("of {} MB", megabytes("bytes_max")));
  return 0;
}

int create_token(const TokenArguments& arguments) {
  const json asked = {{"user", arguments.user}, {"scopes", arguments.scopes}, {"days", arguments.days}};
  const std::string answer = ask_service(service_address(arguments.remote.store), "POST", "/v1/tokens", asked.dump());
  if (arguments.remote.json) {
    std::cout << answer << "\n";
  } else {
    const json created = parsed(answer);
    std::cout << created.at("token").get<std::string>() << "\n";
    std::cerr << "token " << text_of(created.at("view"), "id") << " of " << text_of(created.at("view"), "user")
              << ": it is shown this once\n";
  }
  return 0;
}

int list_tokens(const RemoteArguments& arguments) {
  const std::string answer = ask_service(service_address(arguments.store), "GET", "/v1/tokens");
  if (arguments.json) {
    std::cout << answer << "\n";
    return 0;
  }
  std::cout << fmt::format("{:<14} {:<20} {:<30} {}\n", "token", "user", "scopes", "state");
  for (const json& token : parsed(answer).at("tokens")) {
    std::string scopes;
    for (const json& scope : token.at("scopes")) {
      if (!scopes.empty()) scopes += ',';
      scopes += scope.get<std::string>();
    }
    const std::int64_t expires = token.value("expires_unix_ms", std::int64_t{0});
    std::cout << fmt::format("{:<14} {:<20} {:<30} {}\n", text_of(token, "id"), text_of(token, "user"), scopes,
                             token.value("revoked_unix_ms", std::int64_t{0}) != 0 ? "revoked"
                             : expires <= unix_now_ms()                           ? "expired"
                                                                                  : "until " + utc_text(static_cast<std::uint64_t>(expires)));
  }
  return 0;
}

int revoke_token(const RemoteArguments& arguments) {
  const std::string answer =
      ask_service(service_address(arguments.store), "DELETE", "/v1/tokens/" + escape_segment(arguments.id));
  if (arguments.json) std::cout << answer << "\n";
  return 0;
}

}  // namespace quench::coordinator
