#include "worker/evaluate/sandbox/bubblewrap.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "schemas/error.h"
#include "worker/evaluate/sandbox/seccomp_filter.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;

// Descriptor numbers inside bwrap. The zygote keeps the control socket; bwrap reads and closes the rest.
constexpr int kControlFd = 3;
constexpr int kSeccompFd = 4;
constexpr int kFirstFileFd = 5;
constexpr std::size_t kFilesMax = 16;

bool executable(const fs::path& path) {
  return ::access(path.c_str(), X_OK) == 0 && fs::is_regular_file(path);
}

OwnedFd memory_file(std::string_view name, std::string_view content) {
  OwnedFd file(::memfd_create(std::string(name).c_str(), MFD_CLOEXEC));
  if (file.get() < 0) throw errno_error(ErrorCode::failed, "memfd_create", errno);
  while (!content.empty()) {
    const ssize_t written = ::write(file.get(), content.data(), content.size());
    if (written < 0) throw errno_error(ErrorCode::failed, "write of a sandbox's file", errno);
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::lseek(file.get(), 0, SEEK_SET) != 0)
    throw errno_error(ErrorCode::failed, "lseek in a sandbox's file", errno);
  return file;
}

// A user that owns nothing and runs nothing: between systemd's dynamic users (to 65519) and nobody
// (65534), who may own files on NFS. Below 65536, so that it exists in rootless containers too.
uid_t unused_user() {
  for (uid_t id = 65533; id >= 65520; --id) {
    if (::getpwuid(id) == nullptr && ::getgrgid(id) == nullptr) return id;
  }
  throw Error(ErrorCode::bad_input,
              "the sandbox needs an unused user id, but 65520 to 65533 all have accounts; free one, or run "
              "as a user");
}

std::vector<std::string> arguments(const SandboxHost& host, const SandboxLimits& limits,
                                   const SandboxProgram& program) {
  std::vector<std::string> list{host.bwrap.string()};
  const auto add = [&](std::initializer_list<std::string> more) { list.insert(list.end(), more); };
  add({"--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts",
       "--unshare-cgroup-try"});
  add({"--uid", "1000", "--gid", "1000", "--hostname", "sandbox", "--cap-drop", "ALL"});
  add({"--die-with-parent", "--new-session", "--as-pid-1", "--clearenv"});
  add({"--setenv", "PATH", "/usr/bin", "--setenv", "HOME", "/tmp", "--setenv", "LC_ALL", "C.UTF-8"});
  // Bound lazily, each function of a library would cost every fork its first call again.
  add({"--setenv", "LD_BIND_NOW", "1"});
  // Without a fixed seed the order of a set, and a verdict that hangs on it, would change from run to run.
  add({"--setenv", "PYTHONHASHSEED", "0"});
  for (const char* folder : {"/usr/bin", "/usr/lib", "/usr/lib64"}) {
    if (fs::is_directory(folder)) add({"--ro-bind", folder, folder});
  }
  for (const char* folder : {"/bin", "/lib", "/lib64"}) {
    if (fs::is_symlink(folder)) {
      add({"--symlink", fs::read_symlink(folder).string(), folder});
    } else if (fs::is_directory(folder)) {
      add({"--ro-bind", folder, folder});
    }
  }
  // Debian's libraries that have alternatives are links through here: numpy's BLAS.
  add({"--ro-bind-try", "/etc/alternatives", "/etc/alternatives"});
  for (const fs::path& folder : program.folders) add({"--ro-bind", folder.string(), folder.string()});
  const std::string disk = std::to_string(limits.disk_bytes);
  add({"--proc", "/proc"});
  // bwrap's own --dev is a tmpfs without a bound; this one is small and read-only.
  add({"--size", "65536", "--tmpfs", "/dev"});
  for (const char* device : {"/dev/null", "/dev/random", "/dev/urandom"}) {
    add({"--dev-bind", device, device});
  }
  add({"--symlink", "/proc/self/fd", "/dev/fd", "--dir", "/dev/shm", "--remount-ro", "/dev"});
  add({"--size", disk, "--tmpfs", "/dev/shm", "--size", disk, "--tmpfs", "/tmp"});
  for (std::size_t i = 0; i < program.files.size(); ++i) {
    add({"--ro-bind-data", std::to_string(kFirstFileFd + static_cast<int>(i)),
         "/quench/" + program.files[i].name});
  }
  add({"--remount-ro", "/", "--chdir", "/", "--seccomp", std::to_string(kSeccompFd), "--"});
  list.insert(list.end(), program.command.begin(), program.command.end());
  return list;
}

// After fork in a process that may have threads: system calls only, no allocation.
[[noreturn]] void become_bubblewrap(char* const* argv, const int* wanted, int wanted_count, int null,
                                    int errors, uid_t user, int group) {
  bool good = group < 0 || ::write(group, "0", 1) == 1;
  ::signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  // Lift all above the wanted range first, so that no dup2 overwrites one still to be moved.
  std::array<int, kFilesMax + 2> lifted{};
  const int base = kControlFd + wanted_count + 3;
  for (int i = 0; i < wanted_count; ++i)
    lifted[static_cast<std::size_t>(i)] = ::fcntl(wanted[i], F_DUPFD, base);
  const int high_null = ::fcntl(null, F_DUPFD, base);
  const int high_errors = ::fcntl(errors, F_DUPFD, base);
  good = good && high_null >= 0 && high_errors >= 0 && ::dup2(high_null, 0) == 0 && ::dup2(high_null, 1) == 1 &&
              ::dup2(high_errors, 2) == 2;
  for (int i = 0; i < wanted_count; ++i) {
    good = good && ::dup2(lifted[static_cast<std::size_t>(i)], kControlFd + i) == kControlFd + i;
  }
  // bwrap hands every open descriptor on; a rank's sockets and files must not reach a program.
  const unsigned first_closed = static_cast<unsigned>(kControlFd + wanted_count);
  if (::syscall(SYS_close_range, first_closed, ~0u, 0) != 0) {
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    for (rlim_t fd = first_closed; fd < files.rlim_cur && fd < 1 << 20; ++fd) ::close(static_cast<int>(fd));
  }
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  // A container without setgroups has no groups of the host's to give up.
  if (good && user != 0) {
    ::syscall(SYS_setgroups, 0, nullptr);
    good = ::syscall(SYS_setresgid, user, user, user) == 0 && ::syscall(SYS_setresuid, user, user, user) == 0;
  }
  if (good && ::chdir("/") == 0) ::execv(argv[0], argv);
  static constexpr char kMessage[] = "cannot enter a control group, become an unprivileged user or execute bwrap\n";
  [[maybe_unused]] const ssize_t ignored = ::write(2, kMessage, sizeof kMessage - 1);
  ::_exit(127);
}

void check_python_and_user(SandboxHost& host) {
  if (!executable(host.python)) {
    throw Error(ErrorCode::bad_input,
                "there is no " + host.python.string() +
                    "; generated programs need Python 3.9 or newer: install the package python3");
  }
  if (::geteuid() == 0) host.user = unused_user();
}

}  // namespace

fs::path find_on_path(std::string_view program) {
  const char* variable = std::getenv("PATH");
  std::string_view rest = variable != nullptr ? variable : "/usr/bin:/bin";
  while (true) {
    const std::size_t colon = rest.find(':');
    const fs::path candidate = fs::path(rest.substr(0, colon)) / program;
    if (candidate.is_absolute() && executable(candidate)) return candidate;
    if (colon == std::string_view::npos) return {};
    rest.remove_prefix(colon + 1);
  }
}

SandboxHost find_sandbox_host(const fs::path& bwrap, const fs::path& python) {
  SandboxHost host{bwrap.empty() ? find_on_path("bwrap") : bwrap, python};
  if (host.bwrap.empty() || !executable(host.bwrap)) {
    throw Error(ErrorCode::bad_input,
                "bubblewrap is missing (" +
                    (bwrap.empty() ? std::string("no bwrap on PATH") : bwrap.string()) +
                    "); generated programs run only inside it: install the package bubblewrap");
  }
  check_python_and_user(host);
  host.groups = find_sandbox_groups();
  return host;
}

SandboxHost landlock_host(const fs::path& python) {
  SandboxHost host{{}, python, 0, Confinement::landlock, {}};
  check_python_and_user(host);
  return host;
}

SandboxProcess start_bubblewrap(const SandboxHost& host, const SandboxLimits& limits,
                                   const SandboxProgram& program) {
  QUENCH_CHECK(program.files.size() <= kFilesMax, program.files.size());
  std::vector<std::string> list = arguments(host, limits, program);
  std::vector<char*> argv;
  for (std::string& argument : list) argv.push_back(argument.data());
  argv.push_back(nullptr);

  int control[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) != 0) {
    throw errno_error(ErrorCode::failed, "socketpair for a sandbox", errno);
  }
  OwnedFd ours(control[0]), theirs(control[1]);
  int errors[2];
  if (::pipe2(errors, O_CLOEXEC | O_NONBLOCK) != 0)
    throw errno_error(ErrorCode::failed, "pipe for a sandbox", errno);
  OwnedFd errors_read(errors[0]), errors_write(errors[1]);
  const OwnedFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null.get() < 0) throw errno_error(ErrorCode::failed, "open /dev/null", errno);
  const OwnedFd filter = seccomp_filter(Confinement::namespaces);
  std::vector<OwnedFd> files;
  for (const SandboxFile& file : program.files) files.push_back(memory_file(file.name, file.text));

  std::vector<int> wanted{theirs.get(), filter.get()};
  for (const OwnedFd& file : files) wanted.push_back(file.get());

  std::unique_ptr<SandboxGroup> group;
  if (!host.groups.parent.empty()) group = std::make_unique<SandboxGroup>(host.groups.parent, limits);
  const pid_t pid = ::fork();
  if (pid < 0) throw errno_error(ErrorCode::failed, "fork for a sandbox", errno);
  if (pid == 0) {
    become_bubblewrap(argv.data(), wanted.data(), static_cast<int>(wanted.size()), null.get(),
                      errors_write.get(), host.user, group ? group->entrance() : -1);
  }
  return SandboxProcess(pid, std::move(ours), std::move(errors_read), SIGKILL, {}, std::move(group));
}

SandboxProcess::SandboxProcess(SandboxProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      end_signal_(other.end_signal_),
      control_(std::move(other.control_)),
      errors_(std::move(other.errors_)),
      sources_(std::exchange(other.sources_, {})),
      group_(std::move(other.group_)) {}

SandboxProcess::~SandboxProcess() {
  drop_sources();
  if (pid_ <= 0) return;
  // bwrap's inner process dies with bwrap and, as PID 1, takes its namespace along; Landlock's supervisor ends
  // what is inside before it ends.
  ::kill(pid_, end_signal_);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

void SandboxProcess::drop_sources() {
  if (sources_.empty()) return;
  std::error_code ignored;
  fs::remove_all(std::exchange(sources_, {}), ignored);
}

bool SandboxProcess::was_killed() const {
  // Its sockets close shortly before its end can be seen.
  for (int tries = 0; tries < 1000; ++tries) {
    siginfo_t end{};
    if (::waitid(P_PID, static_cast<id_t>(pid_), &end, WEXITED | WNOHANG | WNOWAIT) == 0 && end.si_pid == pid_)
      return end.si_code != CLD_EXITED || end.si_status > 128;  // as bubblewrap says it of its child
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

std::string SandboxProcess::errors() const {
  std::string text;
  char block[1024];
  while (text.size() < 4096) {
    const ssize_t count = ::read(errors_.get(), block, sizeof block);
    if (count <= 0) break;
    text.append(block, static_cast<std::size_t>(count));
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

}  // namespace quench::worker
