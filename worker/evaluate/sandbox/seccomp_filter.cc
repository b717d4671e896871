#include "worker/evaluate/sandbox/seccomp_filter.h"

#include <linux/sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>

#include "schemas/error.h"

namespace quench::worker {
namespace {

// What CPython, its standard library and threads call. Names that an architecture lacks are skipped.
constexpr const char* kAllowed[] = {
    // files
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "pwrite64",
    "preadv",
    "pwritev",
    "open",
    "openat",
    "creat",
    "close",
    "close_range",
    "stat",
    "fstat",
    "lstat",
    "newfstatat",
    "statx",
    "statfs",
    "fstatfs",
    "lseek",
    "access",
    "faccessat",
    "faccessat2",
    "dup",
    "dup2",
    "dup3",
    "fcntl",
    "flock",
    "fsync",
    "fdatasync",
    "truncate",
    "ftruncate",
    "fallocate",
    "fadvise64",
    "getdents",
    "getdents64",
    "getcwd",
    "chdir",
    "fchdir",
    "rename",
    "renameat",
    "renameat2",
    "mkdir",
    "mkdirat",
    "rmdir",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "symlink",
    "symlinkat",
    "readlink",
    "readlinkat",
    "chmod",
    "fchmod",
    "fchmodat",
    "umask",
    "utime",
    "utimes",
    "utimensat",
    "futimesat",
    "getxattr",
    "lgetxattr",
    "fgetxattr",
    "listxattr",
    "llistxattr",
    "flistxattr",
    "copy_file_range",
    "sendfile",
    "mknod",
    "mknodat",
    "ioctl",
    // memory; mmap has its own rule
    "mprotect",
    "munmap",
    "mremap",
    "brk",
    "madvise",
    "mincore",
    "msync",
    // signals
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "rt_sigsuspend",
    "sigaltstack",
    "kill",
    "tkill",
    "tgkill",
    "pause",
    "signalfd",
    "signalfd4",
    "restart_syscall",
    // processes and threads; clone has its own rule
    "fork",
    "vfork",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "wait4",
    "waitid",
    "getpid",
    "getppid",
    "gettid",
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getgroups",
    "getresuid",
    "getresgid",
    "getpgid",
    "setpgid",
    "getpgrp",
    "setsid",
    "getsid",
    "getpriority",
    "getrlimit",
    "setrlimit",
    "getrusage",
    "sched_yield",
    "sched_getaffinity",
    "sched_getparam",
    "sched_getscheduler",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "arch_prctl",
    "set_tid_address",
    "set_robust_list",
    "get_robust_list",
    "futex",
    "rseq",
    "membarrier",
    "getcpu",
    "pidfd_open",
    "pidfd_send_signal",
    "capget",
    // time
    "nanosleep",
    "clock_nanosleep",
    "clock_gettime",
    "clock_getres",
    "gettimeofday",
    "time",
    "times",
    "getitimer",
    "setitimer",
    "alarm",
    "timer_create",
    "timer_settime",
    "timer_gettime",
    "timer_getoverrun",
    "timer_delete",
    "timerfd_create",
    "timerfd_settime",
    "timerfd_gettime",
    // waiting and pipes
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "eventfd",
    "eventfd2",
    "pipe",
    "pipe2",
    // Unix sockets; socket and socketpair have their own rule
    "connect",
    "accept",
    "accept4",
    "bind",
    "listen",
    "sendto",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "shutdown",
    "getsockname",
    "getpeername",
    "setsockopt",
    "getsockopt",
    // the machine
    "uname",
    "sysinfo",
    "getrandom",
};

constexpr const char* kFatal[] = {
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "pidfd_getfd",
    "kcmp",
    "process_madvise",
    "move_pages",
    "migrate_pages",
    "mount",
    "umount2",
    "pivot_root",
    "chroot",
    "move_mount",
    "open_tree",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "unshare",
    "setns",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "add_key",
    "request_key",
    "keyctl",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "reboot",
    "swapon",
    "swapoff",
    "open_by_handle_at",
    "name_to_handle_at",
    "fanotify_init",
    "acct",
    "quotactl",
    "settimeofday",
    "clock_settime",
    "adjtimex",
    "clock_adjtime",
    "sethostname",
    "setdomainname",
    "ioperm",
    "iopl",
    "vhangup",
    "syslog",
};

// Allowed above, and not where the program shares the host's files and sockets: Landlock does not see a change
// of mode or times, nor a connection to a socket in a folder.
constexpr const char* kOnlyInNamespaces[] = {
    "chmod", "fchmod", "fchmodat", "utime",   "utimes", "utimensat", "futimesat",   "mknod",
    "mknodat", "connect", "accept", "accept4", "bind",   "listen",    "sendto",
};

void check(int code, const std::string& what) {
  if (code < 0) throw errno_error(ErrorCode::bad_input, "seccomp filter: " + what, -code);
}

int number_of(const char* name) { return seccomp_syscall_resolve_name(name); }

void add(scmp_filter_ctx filter, std::uint32_t action, const char* name,
         std::initializer_list<scmp_arg_cmp> arguments = {}) {
  const int number = number_of(name);
  if (number == __NR_SCMP_ERROR || number < 0)
    return;  // another architecture's, or newer than this libseccomp
  check(seccomp_rule_add_array(filter, action, number, static_cast<unsigned>(arguments.size()),
                               arguments.begin()),
        name);
}

scmp_arg_cmp equals(unsigned argument, std::uint64_t value) {
  // The kernel reads these arguments as 32 bits; the upper half may hold anything and must not matter.
  return SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, 0xffffffffull, value);
}

}  // namespace

OwnedFd seccomp_filter(Confinement confinement) {
  const bool alone = confinement == Confinement::landlock;  // no namespace of its own stands behind the filter
  const std::unique_ptr<void, void (*)(scmp_filter_ctx)> owner(seccomp_init(SCMP_ACT_ERRNO(EPERM)),
                                                               seccomp_release);
  scmp_filter_ctx filter = owner.get();
  if (filter == nullptr) throw Error(ErrorCode::bad_input, "libseccomp cannot make a filter on this machine");
  for (const char* name : kAllowed) {
    const auto same = [&](const char* other) { return std::string_view(name) == other; };
    if (!alone || std::none_of(std::begin(kOnlyInNamespaces), std::end(kOnlyInNamespaces), same))
      add(filter, SCMP_ACT_ALLOW, name);
  }
  for (const char* name : kFatal) add(filter, SCMP_ACT_KILL_PROCESS, name);

  // clone is fork and threads, unless it asks for a namespace. clone3 hides its flags behind a pointer;
  // with ENOSYS the C library falls back to clone.
  constexpr std::uint64_t kNamespaces = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                                        CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP;
  add(filter, SCMP_ACT_ALLOW, "clone", {SCMP_CMP(0, SCMP_CMP_MASKED_EQ, kNamespaces, 0)});
  for (std::uint64_t flag = 1; flag <= kNamespaces; flag <<= 1) {
    if ((kNamespaces & flag) == 0) continue;
    add(filter, SCMP_ACT_KILL_PROCESS, "clone", {SCMP_CMP(0, SCMP_CMP_MASKED_EQ, flag, flag)});
  }
  add(filter, SCMP_ACT_ERRNO(ENOSYS), "clone3");

  // Memory is private or a file's. Anonymous memory that is shared stays when all but a page of it is unmapped, and then no process's
  // resident memory shows it. (/dev/zero would be the same, and is not there.)
  constexpr std::uint64_t kSharedAnonymous = MAP_SHARED | MAP_ANONYMOUS;
  for (const std::uint64_t kind : {0, MAP_SHARED, MAP_ANONYMOUS})
    add(filter, SCMP_ACT_ALLOW, "mmap", {SCMP_CMP(3, SCMP_CMP_MASKED_EQ, kSharedAnonymous, kind)});

  // Unix sockets only: an empty network namespace has no use for others, and their code in the kernel is
  // large. Without that namespace only pairs, which are connected and stay so: the host has servers.
  if (alone) {
    constexpr std::uint64_t kTypeBits = 0xf;
    add(filter, SCMP_ACT_ALLOW, "socketpair",
        {equals(0, AF_UNIX), SCMP_CMP(1, SCMP_CMP_MASKED_EQ, kTypeBits, SOCK_STREAM)});
    add(filter, SCMP_ACT_ALLOW, "sendto", {SCMP_CMP(4, SCMP_CMP_EQ, 0)});
    add(filter, SCMP_ACT_ALLOW, "landlock_restrict_self");
  } else {
    for (const char* name : {"socket", "socketpair"}) add(filter, SCMP_ACT_ALLOW, name, {equals(0, AF_UNIX)});
  }

  // Only on itself: another process may be PID 1, which serves the next program too.
  for (const char* name : {"prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam"}) {
    add(filter, SCMP_ACT_ALLOW, name, {equals(0, 0)});
  }
  add(filter, SCMP_ACT_ALLOW, "setpriority", {equals(0, 0), equals(1, 0)});

  // The zygote makes itself and its children undumpable; nobody makes himself dumpable again.
  add(filter, SCMP_ACT_ALLOW, "prctl", {equals(0, PR_SET_DUMPABLE), equals(1, 0)});
  for (std::uint64_t operation :
       {PR_SET_NAME, PR_GET_NAME, PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_GET_DUMPABLE, PR_CAPBSET_READ,
        PR_GET_SECCOMP, PR_GET_NO_NEW_PRIVS, PR_SET_NO_NEW_PRIVS}) {
    add(filter, SCMP_ACT_ALLOW, "prctl", {equals(0, operation)});
  }

  OwnedFd file(::memfd_create("seccomp", MFD_CLOEXEC));
  if (file.get() < 0) throw errno_error(ErrorCode::failed, "memfd_create", errno);
  check(seccomp_export_bpf(filter, file.get()), "export");
  if (::lseek(file.get(), 0, SEEK_SET) != 0)
    throw errno_error(ErrorCode::failed, "lseek in the seccomp filter", errno);
  return file;
}

}  // namespace quench::worker
