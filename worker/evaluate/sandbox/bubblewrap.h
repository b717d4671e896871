// Starts a program inside bubblewrap: no network, a read-only system, bounded private /tmp and
// /dev/shm, namespaces of its own for PIDs, IPC, UTS, users, cgroups, no environment, no capabilities.
//
// As root the child becomes an unprivileged user first, because RLIMIT_NPROC does not bind root.
// The sandbox dies with the *thread* that started it (the kernel's parent-death signal counts threads).
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/artifact.h"
#include "worker/evaluate/sandbox/cgroup.h"
#include "worker/evaluate/sandbox/limits.h"
#include "worker/evaluate/sandbox/owned_fd.h"

namespace quench::worker {

// What a sandbox is made of.
struct SandboxHost {
  std::filesystem::path bwrap;
  std::filesystem::path python;
  uid_t user = 0;  // whom the sandbox becomes when we are root; 0: it stays who we are
  Confinement confinement = Confinement::namespaces;
  SandboxGroups groups;
};

// A file that only the sandbox has: read-only, under /quench.
struct SandboxFile {
  std::string name;
  std::string_view text;  // must outlive the start
};

// What runs as PID 1, and what it needs besides the system's programs and libraries.
struct SandboxProgram {
  std::vector<std::string> command;
  std::vector<SandboxFile> files;  // at most 16
  std::vector<std::filesystem::path> folders;  // of the host, read-only at the same place
};

// The first executable of this name in a folder of PATH; empty when there is none.
std::filesystem::path find_on_path(std::string_view program);

// Finds bwrap on PATH when `bwrap` is empty, checks that both can be executed, as root looks for a
// user id that nobody has, and looks for where control groups can be made. Throws Error(bad_input) naming what is missing and the
// remedy. Not for several threads at once (it reads the password file, and may move this process to a group below its own).
SandboxHost find_sandbox_host(const std::filesystem::path& bwrap, const std::filesystem::path& python);
// The same without bwrap, for Landlock.
SandboxHost landlock_host(const std::filesystem::path& python);


// One running sandbox: bwrap, or Landlock's supervisor. Destruction ends it, and with it every process inside.
class SandboxProcess {
 public:
  SandboxProcess(pid_t pid, OwnedFd control, OwnedFd errors, int end_signal, std::filesystem::path sources = {},
                 std::unique_ptr<SandboxGroup> group = nullptr)
      : pid_(pid),
        end_signal_(end_signal),
        control_(std::move(control)),
        errors_(std::move(errors)),
        sources_(std::move(sources)),
        group_(std::move(group)) {}
  SandboxProcess(SandboxProcess&& other) noexcept;
  SandboxProcess& operator=(SandboxProcess&&) = delete;
  ~SandboxProcess();

  int control() const { return control_.get(); }
  // What the sandbox and the zygote have written to stderr, at most 4 KiB; does not wait for more.
  std::string errors() const;
  // Once it has closed its end of the control socket: whether a signal has ended it, or what it ran. That is somebody's doing,
  // such as the kernel's where memory is short, and says nothing of how this host is set up.
  bool was_killed() const;
  // Whether the kernel has ended it because its control group reached the memory limit.
  bool was_out_of_memory() const { return group_ && group_->was_out_of_memory(); }
  // The warm program has read its sources: a folder that held them goes.
  void drop_sources();

 private:
  pid_t pid_;
  int end_signal_;
  OwnedFd control_;
  OwnedFd errors_;
  std::filesystem::path sources_;
  std::unique_ptr<SandboxGroup> group_;
};

// Throws Error(failed) when the process cannot be started; whether the sandbox works is seen on its
// control socket (Zygote).
SandboxProcess start_bubblewrap(const SandboxHost& host, const SandboxLimits& limits,
                                   const SandboxProgram& program);

}  // namespace quench::worker
