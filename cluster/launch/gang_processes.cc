#include "cluster/launch/gang_processes.h"

#include <unistd.h>

#include <charconv>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

namespace quench::cluster {
namespace {

// A zombie's environment reads as empty, so zombies are never found.
bool has_variable(const std::filesystem::path& process, const std::string& entry) {
  std::ifstream file(process / "environ", std::ios::binary);
  const std::string all = '\0' + std::string(std::istreambuf_iterator<char>(file), {}) + '\0';
  return all.find('\0' + entry + '\0') != std::string::npos;
}

}  // namespace

std::vector<pid_t> processes_marked(const std::string& variable, const std::string& value) {
  std::vector<pid_t> found;
  std::error_code ended;  // processes come and go while we look
  for (auto entry = std::filesystem::directory_iterator("/proc", ended);
       entry != std::filesystem::directory_iterator(); entry.increment(ended)) {
    const std::string name = entry->path().filename().string();
    pid_t pid = 0;
    const auto [end, status] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (status != std::errc() || end != name.data() + name.size() || pid == ::getpid()) continue;
    if (has_variable(entry->path(), variable + "=" + value)) found.push_back(pid);
  }
  return found;
}

std::size_t kill_processes_marked(const std::string& variable, const std::string& value) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(500);
  for (;;) {
    const std::vector<pid_t> left = processes_marked(variable, value);
    if (left.empty() || std::chrono::steady_clock::now() >= until) return left.size();
    for (const pid_t pid : left) ::kill(pid, SIGKILL);
    // The kernel takes a moment to end a process that was in a system call.
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

}  // namespace quench::cluster
