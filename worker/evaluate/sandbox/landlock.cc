#include "worker/evaluate/sandbox/landlock.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "schemas/error.h"
#include "worker/evaluate/sandbox/seccomp_filter.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;

// Descriptor numbers in the zygote: the control socket, and the domain that it puts each program into.
constexpr int kControlFd = 3;
constexpr int kProgramDomainFd = 4;

// As of ABI 6; Debian 12's header stops at ABI 2.
struct RulesetAttributes {
  std::uint64_t files;
  std::uint64_t network;
  std::uint64_t scoped;
};
constexpr std::uint64_t kEveryFileRight = (1u << 16) - 1;  // up to IOCTL_DEV
constexpr std::uint64_t kBindAndConnectTcp = 3;
constexpr std::uint64_t kAbstractSocketsAndSignals = 3;
constexpr std::uint64_t kTruncate = 1u << 14;
constexpr std::uint64_t kRead =
    LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr std::uint64_t kReadFile = LANDLOCK_ACCESS_FS_READ_FILE;
constexpr std::uint64_t kWriteFile = LANDLOCK_ACCESS_FS_WRITE_FILE | kTruncate;

void allow(const OwnedFd& ruleset, const fs::path& path, std::uint64_t rights) {
  const OwnedFd place(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (place.get() < 0) return;  // what is not there needs no rule
  const landlock_path_beneath_attr rule{rights, place.get()};
  if (::syscall(SYS_landlock_add_rule, ruleset.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
    throw errno_error(ErrorCode::bad_input, "Landlock rule for " + path.string(), errno);
}

// What may be read: the system's programs and libraries, Python, our sources. Nothing can be written but /dev/null.
OwnedFd ruleset(const SandboxProgram& program, const fs::path& sources, bool with_processes) {
  const RulesetAttributes attributes{kEveryFileRight, kBindAndConnectTcp, kAbstractSocketsAndSignals};
  OwnedFd rules(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0)));
  if (rules.get() < 0) throw errno_error(ErrorCode::bad_input, "Landlock ruleset", errno);
  for (const char* folder : {"/usr/bin", "/usr/lib", "/usr/lib64", "/bin", "/lib", "/lib64", "/etc/alternatives"})
    allow(rules, folder, kRead);
  for (const fs::path& folder : program.folders) allow(rules, folder, kRead);
  allow(rules, sources, kRead);
  allow(rules, "/etc/ld.so.cache", kReadFile);
  for (const char* device : {"/dev/random", "/dev/urandom"}) allow(rules, device, kReadFile);
  allow(rules, "/dev/null", kReadFile | kWriteFile);
  if (with_processes) allow(rules, "/proc", kReadFile | LANDLOCK_ACCESS_FS_READ_DIR);
  return rules;
}

// A folder for the sources while Python starts; nothing of it is left afterwards.
class SourceFolder {
 public:
  explicit SourceFolder(const std::vector<SandboxFile>& files) {
    std::string name = (fs::temp_directory_path() / "quench-sandbox-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw errno_error(ErrorCode::failed, "mkdtemp for a sandbox", errno);
    path_ = name;
    fs::permissions(path_, fs::perms::owner_all | fs::perms::group_exec | fs::perms::group_read |
                               fs::perms::others_exec | fs::perms::others_read);
    for (const SandboxFile& file : files) {
      std::ofstream out(path_ / file.name, std::ios::binary);
      out << file.text;
      if (!out.flush()) throw Error(ErrorCode::failed, "cannot write " + (path_ / file.name).string());
    }
  }
  ~SourceFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  fs::path release() { return std::exchange(path_, {}); }
  SourceFolder(const SourceFolder&) = delete;
  SourceFolder& operator=(const SourceFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::vector<sock_filter> filter_program() {
  const OwnedFd file = seccomp_filter(Confinement::landlock);
  std::vector<sock_filter> program;
  sock_filter instruction;
  while (::read(file.get(), &instruction, sizeof instruction) == sizeof instruction)
    program.push_back(instruction);
  return program;
}

// Everything that the forked processes need, made before the fork.
struct Start {
  char* const* argv;
  char* const* environment;
  sock_fprog filter;
  int control, errors, null, outer, inner;
  uid_t user;
};

[[noreturn]] void give_up(const char* words, std::size_t count) {
  [[maybe_unused]] const ssize_t ignored = ::write(2, words, count);
  ::_exit(127);
}

bool enter(int ruleset) { return ::syscall(SYS_landlock_restrict_self, ruleset, 0) == 0; }

// After fork in a process that may have threads: system calls only, no allocation.
[[noreturn]] void become_zygote(const Start& start) {
  static constexpr char kMessage[] = "Landlock, seccomp or the warm Python cannot be started\n";
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  ::signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::setsid();
  if (!enter(start.outer) || ::dup2(start.control, kControlFd) != kControlFd ||
      ::dup2(start.inner, kProgramDomainFd) != kProgramDomainFd ||
      ::syscall(SYS_close_range, static_cast<unsigned>(kProgramDomainFd + 1), ~0u, 0) != 0 || ::chdir("/") != 0 ||
      ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &start.filter, 0, 0) != 0) {
    give_up(kMessage, sizeof kMessage - 1);
  }
  ::execve(start.argv[0], start.argv, start.environment);
  give_up(kMessage, sizeof kMessage - 1);
}

// Waits for the zygote to end, or for the host to end or to say so, and leaves no process behind.
[[noreturn]] void supervise(const Start& start, pid_t host) {
  static constexpr char kMessage[] = "the supervisor cannot become an unprivileged user or enter Landlock\n";
  sigset_t awaited;
  sigemptyset(&awaited);
  sigaddset(&awaited, SIGCHLD);
  sigaddset(&awaited, SIGTERM);
  ::sigprocmask(SIG_SETMASK, &awaited, nullptr);
  ::signal(SIGCHLD, SIG_DFL);
  ::setsid();
  bool good = true;
  if (start.user != 0) {
    ::syscall(SYS_setgroups, 0, nullptr);
    good = ::syscall(SYS_setresgid, start.user, start.user, start.user) == 0 &&
           ::syscall(SYS_setresuid, start.user, start.user, start.user) == 0;
  }
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
  good = good && ::dup2(start.null, 0) == 0 && ::dup2(start.null, 1) == 1 && ::dup2(start.errors, 2) == 2 &&
         ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && enter(start.outer);
  if (!good) give_up(kMessage, sizeof kMessage - 1);
  if (::getppid() != host) ::_exit(0);  // it ended before it could tell us
  const pid_t zygote = ::fork();
  if (zygote == 0) become_zygote(start);
  // Only the zygote holds the other end of the host's socket and the pipe of its errors.
  ::syscall(SYS_close_range, 3u, ~0u, 0);
  ::close(2);
  while (zygote > 0) {
    const int signal = ::sigwaitinfo(&awaited, nullptr);
    if (signal == SIGTERM) break;
    if (signal == SIGCHLD && ::waitpid(zygote, nullptr, WNOHANG) == zygote) break;
  }
  // Only what is in our domain can be reached, and a fork in progress cannot slip past.
  ::kill(-1, SIGKILL);
  while (::waitpid(-1, nullptr, 0) > 0 || errno == EINTR) {
  }
  ::_exit(0);
}

}  // namespace

int landlock_abi() {
  const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return abi > 0 ? static_cast<int>(abi) : 0;
}

SandboxProcess start_landlocked(const SandboxHost& host, const SandboxLimits&, const SandboxProgram& program) {
  if (const int abi = landlock_abi(); abi < kLandlockAbiMin) {
    throw Error(ErrorCode::bad_input,
                "without namespaces the sandbox needs Landlock ABI " + std::to_string(kLandlockAbiMin) +
                    " (Linux 6.12, which first holds signals), but this kernel has " +
                    (abi == 0 ? std::string("no Landlock") : "ABI " + std::to_string(abi)) +
                    ": allow user namespaces, or run on another host");
  }
  SourceFolder sources(program.files);
  const OwnedFd outer = ruleset(program, sources.path(), true);
  const OwnedFd inner = ruleset(program, sources.path(), false);
  std::vector<sock_filter> filter = filter_program();

  std::vector<std::string> command = program.command;
  for (std::string& word : command)
    if (word.starts_with("/quench/")) word.replace(0, std::string("/quench").size(), sources.path().string());
  command.push_back("landlock");
  std::vector<std::string> environment{"PATH=/usr/bin", "HOME=/", "LC_ALL=C.UTF-8", "PYTHONHASHSEED=0"};
  const auto pointers = [](std::vector<std::string>& words) {
    std::vector<char*> list;
    for (std::string& word : words) list.push_back(word.data());
    list.push_back(nullptr);
    return list;
  };
  const std::vector<char*> argv = pointers(command), envp = pointers(environment);

  int control[2], errors[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) != 0)
    throw errno_error(ErrorCode::failed, "socketpair for a sandbox", errno);
  OwnedFd ours(control[0]), theirs(control[1]);
  if (::pipe2(errors, O_CLOEXEC | O_NONBLOCK) != 0)
    throw errno_error(ErrorCode::failed, "pipe for a sandbox", errno);
  OwnedFd errors_read(errors[0]), errors_write(errors[1]);
  const OwnedFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null.get() < 0) throw errno_error(ErrorCode::failed, "open /dev/null", errno);
  // Above the numbers that the zygote's descriptors get.
  const auto lifted = [](const OwnedFd& fd) { return OwnedFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 16)); };
  const OwnedFd high_control = lifted(theirs), high_errors = lifted(errors_write), high_null = lifted(null),
                high_outer = lifted(outer), high_inner = lifted(inner);
  theirs.reset();

  const Start start{argv.data(),       envp.data(),       {static_cast<unsigned short>(filter.size()), filter.data()},
                    high_control.get(), high_errors.get(), high_null.get(),
                    high_outer.get(),   high_inner.get(),  host.user};
  const pid_t self = ::getpid();
  const pid_t pid = ::fork();
  if (pid < 0) throw errno_error(ErrorCode::failed, "fork for a sandbox", errno);
  if (pid == 0) supervise(start, self);
  return SandboxProcess(pid, std::move(ours), std::move(errors_read), SIGTERM, sources.release());
}

}  // namespace quench::worker
