#include "coordinator/cli/service_commands.h"

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/cli/remote.h"
#include "coordinator/cli/serve.h"

namespace quench::coordinator {

struct ServiceCommands::Parsed {
  std::string config;
  RemoteArguments remote;
  SubmitArguments submission;
  TokenArguments token;
  std::string reason;
  bool follow = false;
  std::vector<std::pair<CLI::App*, std::function<int()>>> commands;
};

ServiceCommands::ServiceCommands(CLI::App& app) : parsed_(std::make_unique<Parsed>()) {
  Parsed& p = *parsed_;
  const auto add = [&p](CLI::App& parent, const char* name, const char* about, std::function<int()> run) {
    CLI::App* const command = parent.add_subcommand(name, about);
    p.commands.emplace_back(command, std::move(run));
    return command;
  };
  const auto add_remote = [&](CLI::App& parent, const char* name, const char* about, std::function<int()> run) {
    CLI::App* const command = add(parent, name, about, std::move(run));
    command->add_option("--store", p.remote.store, "the service of this store; default $QUENCH_URL, $QUENCH_STORE or ./quench-store");
    command->add_flag("--json", p.remote.json, "the service's answer as it is");
    return command;
  };

  CLI::App* const serve_command =
      add(app, "serve", "the service: a queue of jobs, an HTTP interface, a page to watch", [&p] { return serve(p.config); });
  serve_command->add_option("--config", p.config, "FILE")->required();

  CLI::App* const submit_command = add_remote(app, "submit", "queue a job", [&p] {
    p.submission.remote = p.remote;
    return submit(p.submission);
  });
  submit_command->add_option("job", p.submission.job, "JOB.json")->required();
  submit_command->add_option("--ranks", p.submission.ranks, "MPI ranks, instead of the job's")->check(CLI::Range(1, 4096));
  submit_command->add_option("--priority", p.submission.priority, "larger ones go first; above 0 for administrators")
      ->check(CLI::Range(-1000, 1000));
  submit_command->add_option("--after", p.submission.after, "numbers of jobs that must be done before it starts")
      ->delimiter(',')
      ->check(CLI::PositiveNumber);
  submit_command->add_flag("--watch", p.submission.watch, "until the job ends");

  CLI::App* const status_command = add_remote(app, "status", "jobs, or one job", [&p] { return status(p.remote); });
  status_command->add_option("job", p.remote.id, "its number");
  CLI::App* const watch_command = add_remote(app, "watch", "follow a job until it ends", [&p] { return watch(p.remote); });
  CLI::App* const logs_command = add_remote(app, "logs", "a job's log", [&p] { return logs(p.remote, p.follow); });
  logs_command->add_flag("--follow", p.follow, "until the job ends");
  CLI::App* const cancel_command = add_remote(app, "cancel", "cancel a job", [&p] { return cancel(p.remote, p.reason); });
  cancel_command->add_option("--reason", p.reason);
  CLI::App* const retry_command =
      add_remote(app, "retry", "queue a failed or cancelled job again; only what is missing is done", [&p] { return retry(p.remote); });
  for (CLI::App* const command : {watch_command, logs_command, cancel_command, retry_command})
    command->add_option("job", p.remote.id, "its number")->required();

  add_remote(app, "whoami", "who the service takes you for, what you may do and how much of your share is taken",
             [&p] { return whoami(p.remote); });

  CLI::App* const token_command = app.add_subcommand("token", "tokens of a service: create, ls, revoke");
  token_command->require_subcommand(1);
  CLI::App* const create_command = add_remote(*token_command, "create", "make one; it is printed this once", [&p] {
    p.token.remote = p.remote;
    return create_token(p.token);
  });
  create_command->add_option("--user", p.token.user, "whose it is")->required();
  create_command->add_option("--scope", p.token.scopes, "read, submit, publish, admin")->required()->delimiter(',');
  create_command->add_option("--days", p.token.days, "until it expires")->capture_default_str();
  add_remote(*token_command, "ls", "all of them", [&p] { return list_tokens(p.remote); });
  CLI::App* const revoke_command = add_remote(*token_command, "revoke", "end one", [&p] { return revoke_token(p.remote); });
  revoke_command->add_option("token", p.remote.id, "its id")->required();
}

ServiceCommands::~ServiceCommands() = default;

std::optional<int> ServiceCommands::run() {
  for (const auto& [command, run] : parsed_->commands)
    if (command->parsed()) return run();
  return std::nullopt;
}

}  // namespace quench::coordinator
