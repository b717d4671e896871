#include "cluster/launch/tool_run.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <thread>
#include <utility>

#include "cluster/launch/spawn.h"
#include "schemas/error.h"

namespace quench::cluster {
namespace {

// Slurm's own commands give up on a silent controller after its MessageTimeout, 10 s by default, some of them after
// several; a file system that hangs must not hold a gang for ever.
constexpr std::chrono::seconds kToolDeadline{120};
constexpr std::chrono::seconds kFarewell{10};

}  // namespace

ToolRun::ToolRun(Loop& loop, const std::vector<std::string>& arguments,
                 std::function<void(const ToolResult&)> on_done)
    : deadline_(loop) {
  ChildCommand command;
  command.program = arguments.at(0);
  command.arguments.assign(arguments.begin() + 1, arguments.end());
  // Words that are read must not be translated.
  command.environment["LC_ALL"] = "C";
  command.out = ChildStream::lines;
  command.err = ChildStream::lines;
  command.group = ChildGroup::own;
  ChildHandlers handlers;
  handlers.on_line = [this](ChildHandlers::Source source, const std::string& line) {
    (source == ChildHandlers::Source::out ? result_.out : result_.err) += line + "\n";
  };
  handlers.on_exit = [this, on_done = std::move(on_done)](const ChildExit& exit) {
    deadline_.cancel();
    ToolResult result = std::move(result_);
    result.code = exit.code;
    on_done(result);  // which may destroy this object
  };
  child_ = std::make_shared<ChildProcess>(loop, command, std::move(handlers));
  deadline_.expires_after(kToolDeadline);
  deadline_.async_wait([child = std::weak_ptr<ChildProcess>(child_)](const boost::system::error_code& cancelled) {
    if (const auto late = child.lock(); late && !cancelled) late->signal(SIGKILL);
  });
}

void run_tool_blocking(const std::vector<std::string>& arguments) {
  const auto program = find_program(arguments.at(0));
  if (!program) return;
  SpawnPlan plan{.program = *program, .arguments = {arguments.begin() + 1, arguments.end()}, .environment = {}};
  for (char** variable = environ; *variable != nullptr; ++variable) plan.environment.emplace_back(*variable);
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return;
  plan.in = plan.out = plan.err = null;
  plan.own_group = true;
  pid_t child = 0;
  try {
    child = spawn(plan);
  } catch (const Error&) {
  }
  ::close(null);
  if (child <= 0) return;
  for (const auto end = std::chrono::steady_clock::now() + kFarewell;;) {
    const pid_t ended = ::waitpid(child, nullptr, WNOHANG);
    if (ended == child || (ended < 0 && errno != EINTR)) return;
    if (std::chrono::steady_clock::now() > end) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

}  // namespace quench::cluster
