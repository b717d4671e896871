// A control group (version 2) around each sandbox: the kernel's own bound on the memory and the processes of all that runs in
// it, whichever way a program got them. Only below a group that was delegated to this process; no other is touched.
//
//   delegated/                 found by find_sandbox_groups()
//     quench/                  who was in `delegated` itself: a group with members cannot bound its children's memory
//     quench-sandbox-XXXXXX/   one SandboxGroup, locked by who made it
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "worker/evaluate/sandbox/limits.h"
#include "worker/evaluate/sandbox/owned_fd.h"

namespace quench::worker {

// What the files of one group say.
struct GroupFacts {
  std::filesystem::path folder;
  // Ours to divide: marked by systemd (the attribute user.delegate or trusted.delegate is "1"), or given to us, who are not
  // root, by the owner of the group above. Never the hierarchy's root, nor the group of a systemd of its own.
  bool delegated = false;
  bool bounds_memory_and_processes = false;  // its children can
  std::vector<pid_t> processes;              // 0: one that cannot be seen from here
};

// Where groups for sandboxes go and who must move to a leaf first; or, without a parent, why they go nowhere.
struct GroupDecision {
  std::filesystem::path parent;
  std::vector<pid_t> to_leaf;
  std::string why_not;
};

// Where this process's own group may be, by the texts of /proc/self/cgroup and /proc/self/mountinfo.
std::vector<std::filesystem::path> own_groups(std::string_view cgroup, std::string_view mounts);
GroupFacts read_group(const std::filesystem::path& folder);
GroupDecision decide(const GroupFacts& own, const GroupFacts& above);

struct SandboxGroups {
  std::filesystem::path parent;  // empty: sandboxes have no groups here
  std::string words;             // for people: "control groups in /sys/fs/cgroup/…", "no control groups: …"
};

// Looks, moves to a leaf, and removes groups of workers that were killed. What keeps it from making groups it says, and does not
// throw.
SandboxGroups find_sandbox_groups();

// One sandbox's group. Destruction kills whoever is in it, and removes it.
class SandboxGroup {
 public:
  // Throws Error(failed).
  SandboxGroup(const std::filesystem::path& parent, const SandboxLimits& limits);
  ~SandboxGroup();
  SandboxGroup(const SandboxGroup&) = delete;
  SandboxGroup& operator=(const SandboxGroup&) = delete;

  // A process that writes "0" here is in it.
  int entrance() const { return entrance_.get(); }
  // Whether the kernel has killed all that was in it, because it reached its memory limit.
  bool was_out_of_memory() const;

 private:
  std::filesystem::path folder_;
  OwnedFd lock_;
  OwnedFd entrance_;
};

}  // namespace quench::worker
