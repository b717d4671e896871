// A short command of the system (sbatch, scontrol, scancel), run to its end. Loop thread.
#pragma once

#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cluster/launch/child_process.h"
#include "cluster/net/socket.h"

namespace quench::cluster {

struct ToolResult {
  int code = 0;  // 128 + signal when killed, also for taking too long
  std::string out;
  std::string err;
};

class ToolRun {
 public:
  // `arguments[0]` is found in PATH. `on_done` comes once, from the loop; not after the object is gone, which kills
  // the command. Throws as ChildProcess does.
  ToolRun(Loop& loop, const std::vector<std::string>& arguments, std::function<void(const ToolResult&)> on_done);
  bool ended() const { return !child_->running(); }

 private:
  ToolResult result_;
  boost::asio::steady_timer deadline_;
  // A second, weak hold: the deadline's handler, which may run after we are gone.
  std::shared_ptr<ChildProcess> child_;
};

// The same without a loop, for farewells: waits at most 10 s, then kills it. Tells nothing, because nobody is left to
// be told.
void run_tool_blocking(const std::vector<std::string>& arguments);

}  // namespace quench::cluster
