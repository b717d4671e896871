#include "cluster/launch/spawn.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>

#include "schemas/error.h"

namespace quench::cluster {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (const std::string& text : texts) all.push_back(const_cast<char*>(text.c_str()));
  all.push_back(nullptr);
  return all;
}

// In the child: only async-signal-safe calls from here on. Tells the parent errno through `report`.
[[noreturn]] void become(const SpawnPlan& plan, char* const* argv, char* const* envp, pid_t parent,
                         int report) {
  const auto fail = [report] {
    const int why = errno;
    [[maybe_unused]] const ssize_t written = ::write(report, &why, sizeof why);
    ::_exit(127);
  };
  if (::prctl(PR_SET_PDEATHSIG, plan.death_signal) != 0) fail();
  // The parent may have ended before the line above; then no signal will come.
  if (::getppid() != parent) ::_exit(127);
  if (plan.own_group && ::setpgid(0, 0) != 0) fail();
  // Our own handlers and masks are not the child's business. 64 is Linux's last real-time signal.
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  for (int number = 1; number <= 64; ++number) ::sigaction(number, &action, nullptr);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  // Copies above 2 first, so that one stream's place is not overwritten by another's.
  std::array<int, 3> streams{plan.in, plan.out, plan.err};
  for (int& stream : streams)
    if ((stream = ::fcntl(stream, F_DUPFD_CLOEXEC, 3)) < 0) fail();
  for (int place = 0; place < 3; ++place)
    if (::dup2(streams[static_cast<std::size_t>(place)], place) < 0) fail();
  // Whatever else is open here, ours or our starter's, is not the child's business either.
  ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  ::execve(plan.program.c_str(), argv, envp);
  fail();
  ::_exit(127);
}

}  // namespace

pid_t spawn(const SpawnPlan& plan) {
  std::vector<std::string> words = {plan.program.string()};
  words.insert(words.end(), plan.arguments.begin(), plan.arguments.end());
  const std::vector<char*> argv = pointers(words);
  const std::vector<char*> envp = pointers(plan.environment);
  // Closed by a successful exec; otherwise it brings errno.
  std::array<int, 2> report{};
  if (::pipe2(report.data(), O_CLOEXEC) != 0) throw errno_error(ErrorCode::failed, "pipe", errno);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) become(plan, argv.data(), envp.data(), parent, report[1]);
  const int fork_error = errno;
  ::close(report[1]);
  int why = 0;
  ssize_t got = 0;
  if (child > 0) do {
      got = ::read(report[0], &why, sizeof why);
    } while (got < 0 && errno == EINTR);
  ::close(report[0]);
  if (child < 0) throw errno_error(ErrorCode::failed, "fork", fork_error);
  if (got == sizeof why) {
    ::waitpid(child, nullptr, 0);
    throw errno_error(ErrorCode::unreachable, "cannot execute " + plan.program.string(), why);
  }
  return child;
}

}  // namespace quench::cluster
