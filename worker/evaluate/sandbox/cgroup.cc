#include "worker/evaluate/sandbox/cgroup.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#include "schemas/error.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;

constexpr char kLeaf[] = "quench";
constexpr std::string_view kPrefix = "quench-sandbox-";
constexpr int kTries = 16;
// Killed processes leave a group one after the other.
constexpr auto kRemovalPatience = std::chrono::seconds(5);

std::string read_text(const fs::path& file) {
  std::ifstream in(file);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

std::vector<std::string> words_of(std::string_view text) {
  std::istringstream in{std::string(text)};
  return {std::istream_iterator<std::string>(in), {}};
}

bool has(const std::vector<std::string>& words, std::string_view wanted) {
  return std::find(words.begin(), words.end(), wanted) != words.end();
}

// 0, or what went wrong.
int write_text(const fs::path& file, std::string_view text) {
  const OwnedFd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
  if (fd.get() < 0) return errno;
  return ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) ? 0 : errno;
}

// mountinfo writes spaces and the like as \040.
std::string unescaped(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size()) {
      plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

bool is_marked(const fs::path& folder) {
  for (const char* name : {"user.delegate", "trusted.delegate"}) {
    char value = 0;
    if (::getxattr(folder.c_str(), name, &value, 1) == 1 && value == '1') return true;
  }
  return false;
}

bool was_given_to_us(const fs::path& folder) {
  struct stat here {}, above {};
  if (::geteuid() == 0 || ::stat(folder.c_str(), &here) != 0 || here.st_uid != ::geteuid()) return false;
  return ::stat(folder.parent_path().c_str(), &above) == 0 && (above.st_uid != here.st_uid || above.st_dev != here.st_dev);
}

bool is_writable(const fs::path& folder) {
  for (const char* name : {".", "cgroup.procs", "cgroup.subtree_control"}) {
    if (::access((folder / name).c_str(), W_OK) != 0) return false;
  }
  return true;
}

void kill_members(const fs::path& folder) {
  if (write_text(folder / "cgroup.kill", "1") == 0) return;
  // Before Linux 5.14.
  for (const std::string& process : words_of(read_text(folder / "cgroup.procs"))) {
    const auto number = static_cast<pid_t>(std::strtol(process.c_str(), nullptr, 10));
    if (number > 1) ::kill(number, SIGKILL);
  }
}

// A group that stays is removed at a later start.
void remove_group(const fs::path& folder) {
  const auto given_up = std::chrono::steady_clock::now() + kRemovalPatience;
  kill_members(folder);
  while (::rmdir(folder.c_str()) != 0 && errno == EBUSY && std::chrono::steady_clock::now() < given_up) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    kill_members(folder);
  }
}

// Held for as long as its maker lives: what can be locked is left over.
OwnedFd locked(const fs::path& folder) {
  OwnedFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() >= 0 && ::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) fd.reset();
  return fd;
}

void remove_leftovers(const fs::path& parent) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(parent, ignored)) {
    if (!entry.path().filename().string().starts_with(kPrefix)) continue;
    if (const OwnedFd lock = locked(entry.path()); lock.get() >= 0) remove_group(entry.path());
  }
}

// Empty, or what keeps the group from having bounded children.
std::string prepare(const GroupDecision& decision) {
  const fs::path leaf = decision.parent / kLeaf;
  std::vector<pid_t> members = decision.to_leaf;
  for (int tries = 0;; ++tries) {
    if (!members.empty() && ::mkdir(leaf.c_str(), 0755) != 0 && errno != EEXIST)
      return errno_error(ErrorCode::failed, leaf.string(), errno).what();
    for (const pid_t process : members) {
      const int error = write_text(leaf / "cgroup.procs", std::to_string(process));
      if (error != 0 && error != ESRCH) return errno_error(ErrorCode::failed, "moving to " + leaf.string(), error).what();
    }
    const int error = write_text(decision.parent / "cgroup.subtree_control", "+memory +pids");
    if (error == 0) return {};
    // One of them has just started another.
    if (error != EBUSY || tries == kTries)
      return errno_error(ErrorCode::failed, "memory and pids for the groups in " + decision.parent.string(), error).what();
    members = read_group(decision.parent).processes;
  }
}

}  // namespace

std::vector<fs::path> own_groups(std::string_view cgroup, std::string_view mounts) {
  std::istringstream lines{std::string(cgroup)};
  fs::path own;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("0::/")) own = line.substr(3);
  }
  std::vector<fs::path> found;
  if (own.empty()) return found;
  std::istringstream mount_lines{std::string(mounts)};
  for (std::string line; std::getline(mount_lines, line);) {
    // 30 23 0:26 ROOT PLACE OPTIONS … - TYPE SOURCE OPTIONS
    const std::vector<std::string> fields = words_of(line);
    const auto dash = std::find(fields.begin(), fields.end(), "-");
    if (dash - fields.begin() < 6 || fields.end() - dash < 2 || dash[1] != "cgroup2") continue;
    const fs::path below = own.lexically_relative(unescaped(fields[3]));
    if (below.empty() || *below.begin() == "..") continue;
    found.push_back(below == "." ? fs::path(unescaped(fields[4])) : unescaped(fields[4]) / below);
  }
  return found;
}

GroupFacts read_group(const fs::path& folder) {
  GroupFacts facts{folder, false, false, {}};
  const std::vector<std::string> type = words_of(read_text(folder / "cgroup.type"));  // the root has none
  const bool is_divisible = type == std::vector<std::string>{"domain"} && !fs::exists(folder / "init.scope");
  facts.delegated = is_divisible && is_writable(folder) && (is_marked(folder) || was_given_to_us(folder));
  const std::vector<std::string> controllers = words_of(read_text(folder / "cgroup.controllers"));
  facts.bounds_memory_and_processes = has(controllers, "memory") && has(controllers, "pids");
  for (const std::string& process : words_of(read_text(folder / "cgroup.procs")))
    facts.processes.push_back(static_cast<pid_t>(std::strtol(process.c_str(), nullptr, 10)));
  return facts;
}

GroupDecision decide(const GroupFacts& own, const GroupFacts& above) {
  // In a leaf already: systemd's DelegateSubgroup=, or the one that an earlier worker has made.
  const bool is_leaf = !own.delegated && above.delegated && above.processes.empty();
  const GroupFacts& group = is_leaf ? above : own;
  if (!group.delegated) return {{}, {}, own.folder.string() + " is not delegated to this process"};
  if (!group.bounds_memory_and_processes)
    return {{}, {}, group.folder.string() + " has no controllers for memory and pids to give"};
  if (is_leaf) return {group.folder, {}, {}};
  if (std::find(group.processes.begin(), group.processes.end(), 0) != group.processes.end())
    return {{}, {}, "processes that cannot be seen from here are in " + group.folder.string() + " too"};
  return {group.folder, group.processes, {}};
}

SandboxGroups find_sandbox_groups() {
  const auto without = [](const std::string& why) { return SandboxGroups{{}, "no control groups: " + why}; };
  const pid_t self = ::getpid();
  for (const fs::path& folder : own_groups(read_text("/proc/self/cgroup"), read_text("/proc/self/mountinfo"))) {
    const GroupFacts own = read_group(folder);
    if (std::find(own.processes.begin(), own.processes.end(), self) == own.processes.end()) continue;
    const GroupDecision decision = decide(own, read_group(folder.parent_path()));
    if (decision.parent.empty()) return without(decision.why_not);
    if (const std::string failure = prepare(decision); !failure.empty()) return without(failure);
    remove_leftovers(decision.parent);
    try {
      const SandboxGroup trial(decision.parent, SandboxLimits{});
    } catch (const Error& error) {
      return without(error.what());
    }
    return {decision.parent, "control groups in " + decision.parent.string()};
  }
  return without("no cgroup2 is mounted that holds this process");
}

SandboxGroup::SandboxGroup(const fs::path& parent, const SandboxLimits& limits) {
  // Whoever removes leftovers may take one for such that is not locked yet.
  for (int tries = 0; lock_.get() < 0; ++tries) {
    std::string name = (parent / (std::string(kPrefix) + "XXXXXX")).string();
    if (tries == kTries || ::mkdtemp(name.data()) == nullptr)
      throw errno_error(ErrorCode::failed, "a control group in " + parent.string(), errno);
    folder_ = name;
    lock_ = locked(folder_);
    if (::access(folder_.c_str(), F_OK) != 0) lock_.reset();
  }
  const std::pair<const char*, std::string> bounds[] = {{"memory.max", std::to_string(limits.group_memory_bytes())},
                                                        {"memory.swap.max", "0"},
                                                        {"memory.oom.group", "1"},
                                                        {"pids.max", std::to_string(limits.group_processes())}};
  for (const auto& [name, value] : bounds) {
    const int error = write_text(folder_ / name, value);
    if (error == 0 || (error == ENOENT && std::string_view(name) == "memory.swap.max")) continue;  // a kernel without swap
    ::rmdir(folder_.c_str());
    throw errno_error(ErrorCode::failed, (folder_ / name).string(), error);
  }
  entrance_ = OwnedFd(::open((folder_ / "cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
  if (entrance_.get() < 0) {
    const int error = errno;
    ::rmdir(folder_.c_str());
    throw errno_error(ErrorCode::failed, (folder_ / "cgroup.procs").string(), error);
  }
}

SandboxGroup::~SandboxGroup() { remove_group(folder_); }

bool SandboxGroup::was_out_of_memory() const {
  // `oom` alone is an allocation that failed, `oom_kill` alone a host whose memory is short.
  std::istringstream events(read_text(folder_ / "memory.events"));
  bool reached = false, killed = false;
  std::string name;
  for (std::uint64_t count = 0; events >> name >> count;) {
    if (name == "oom") reached = count > 0;
    if (name == "oom_kill") killed = count > 0;
  }
  return reached && killed;
}

}  // namespace quench::worker
