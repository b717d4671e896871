#include "cluster/launch/foreign_process.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <sstream>
#include <utility>

namespace quench::cluster {
namespace {

// proc(5): the fields behind the name, which may hold anything, begin with the third; the start is the 22nd.
constexpr int kFieldsBeforeStart = 19;

}  // namespace

std::string ProcessName::to_string() const { return std::to_string(pid) + " " + std::to_string(started); }

std::optional<ProcessName> ProcessName::parse(const std::string& text) {
  std::istringstream in(text);
  ProcessName name;
  if (!(in >> name.pid >> name.started) || name.pid <= 0) return std::nullopt;
  return name;
}

std::optional<ProcessName> ProcessName::of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const std::size_t end = text.rfind(')');
  if (end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(end + 1));
  std::string skipped;
  for (int i = 0; i < kFieldsBeforeStart; ++i) fields >> skipped;
  ProcessName name{.pid = pid};
  if (!(fields >> name.started)) return std::nullopt;
  return name;
}

std::unique_ptr<ForeignProcess> ForeignProcess::find(Loop& loop, const ProcessName& name, std::function<void()> on_ended) {
  // glibc has a function for it from 2.36 on.
  const int descriptor = static_cast<int>(::syscall(SYS_pidfd_open, name.pid, 0));
  if (descriptor < 0) return nullptr;
  pollfd ended{.fd = descriptor, .events = POLLIN, .revents = 0};
  // Asked with the descriptor in hand: now the number cannot change hands any more.
  if (ProcessName::of(name.pid) != name || ::poll(&ended, 1, 0) != 0) {
    ::close(descriptor);
    return nullptr;
  }
  return std::unique_ptr<ForeignProcess>(new ForeignProcess(loop, descriptor, name.pid, std::move(on_ended)));
}

ForeignProcess::ForeignProcess(Loop& loop, int descriptor, pid_t pid, std::function<void()> on_ended)
    : descriptor_(loop, descriptor), pid_(pid) {
  descriptor_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                         [running = std::weak_ptr(running_), on_ended = std::move(on_ended)](const boost::system::error_code& cancelled) {
                           const auto flag = running.lock();
                           if (cancelled || !flag) return;
                           *flag = false;
                           on_ended();
                         });
}

ForeignProcess::~ForeignProcess() = default;

void ForeignProcess::signal(int number) {
  if (running()) ::syscall(SYS_pidfd_send_signal, descriptor_.native_handle(), number, nullptr, 0);
}

}  // namespace quench::cluster
