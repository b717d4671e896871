// Commands that talk to a running service over HTTP: where it is, requests whose refusals become errors with the exit
// codes of DESIGN.md section 7, and the commands themselves.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "coordinator/http/client.h"

namespace quench::coordinator {

// --store's http.sock where that was given, else QUENCH_URL, else the http.sock of the default store; the token from
// QUENCH_TOKEN or the file QUENCH_TOKEN_FILE, certificates from QUENCH_CA_FILE.
ServiceAddress service_address(const std::filesystem::path& store);
// The body of a good answer. Throws Error: bad_input for what the service does not take, refused, failed, unreachable.
std::string good_body(HttpAnswer answer);
std::string ask_service(const ServiceAddress& service, const std::string& method, const std::string& target,
                        const std::string& body = {});

struct RemoteArguments {
  std::filesystem::path store;
  std::string id;  // of the job
  bool json = false;
};

struct SubmitArguments {
  RemoteArguments remote;
  std::filesystem::path job;
  std::uint32_t ranks = 0;  // 0: the job's
  std::int32_t priority = 0;
  std::vector<std::uint64_t> after;  // jobs that must be done before it starts
  bool watch = false;  // until it ends
};
int submit(const SubmitArguments& arguments);
// One job, or all of them without an id.
int status(const RemoteArguments& arguments);
// Until the job ends; its exit code is what `quench run` would have had.
int watch(const RemoteArguments& arguments);
int logs(const RemoteArguments& arguments, bool follow);
int cancel(const RemoteArguments& arguments, const std::string& reason);
int retry(const RemoteArguments& arguments);
// Who the service takes us for, what we may do, and how much of our share is taken.
int whoami(const RemoteArguments& arguments);

struct TokenArguments {
  RemoteArguments remote;
  std::string user;
  std::vector<std::string> scopes;
  std::uint32_t days = 90;
};
int create_token(const TokenArguments& arguments);
int list_tokens(const RemoteArguments& arguments);
int revoke_token(const RemoteArguments& arguments);

}  // namespace quench::coordinator
