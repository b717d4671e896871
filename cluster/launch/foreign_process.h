// A process that is no child of ours: an mpirun whose coordinator died and whom we took over. Loop thread.
#pragma once

#include <sys/types.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cluster/net/socket.h"

namespace quench::cluster {

// A process for good: its number may be given to another one later, its start is never the same.
struct ProcessName {
  pid_t pid = 0;
  std::uint64_t started = 0;  // clock ticks since the machine's start
  std::string to_string() const;
  static std::optional<ProcessName> parse(const std::string& text);
  static std::optional<ProcessName> of(pid_t pid);  // empty when there is none
  bool operator==(const ProcessName&) const = default;
};

class ForeignProcess {
 public:
  // Null when it has ended. `on_ended` comes once; the kernel tells nobody but its parent how it ended.
  static std::unique_ptr<ForeignProcess> find(Loop& loop, const ProcessName& name, std::function<void()> on_ended);
  ~ForeignProcess();
  ForeignProcess(const ForeignProcess&) = delete;
  ForeignProcess& operator=(const ForeignProcess&) = delete;

  int pid() const { return pid_; }
  bool running() const { return *running_; }
  // Nothing happens when it has ended.
  void signal(int number);

 private:
  ForeignProcess(Loop& loop, int descriptor, pid_t pid, std::function<void()> on_ended);

  boost::asio::posix::stream_descriptor descriptor_;
  pid_t pid_;
  // Two owners: this handle and the wait that is pending when it goes.
  std::shared_ptr<bool> running_ = std::make_shared<bool>(true);
};

}  // namespace quench::cluster
