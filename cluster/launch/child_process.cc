#include "cluster/launch/child_process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>
#include <utility>

#include "cluster/launch/spawn.h"
#include "schemas/error.h"

extern "C" char** environ;

namespace quench::cluster {
namespace asio = boost::asio;
namespace {

using Source = ChildHandlers::Source;

constexpr std::size_t kLineBytesMax = 64 << 10;
// A grandchild may hold the child's output open after the child ended; its lines are waited for so long.
constexpr std::chrono::milliseconds kDrain{500};

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int get() const { return number_; }
  int release() { return std::exchange(number_, -1); }

 private:
  int number_ = -1;
};

std::pair<Descriptor, Descriptor> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw errno_error(ErrorCode::failed, "pipe", errno);
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

std::vector<std::string> environment_of(const ChildCommand& command) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('='));
    if (command.environment.contains(name)) continue;
    if (command.keep_variable && !command.keep_variable(name)) continue;
    all.push_back(text);
  }
  for (const auto& [name, value] : command.environment) all.push_back(name + "=" + value);
  return all;
}

}  // namespace

std::string ChildExit::describe() const {
  if (!signal) return "exited with code " + std::to_string(code);
  return "was killed by signal " + std::to_string(*signal) + " (" + ::strsignal(*signal) + ")";
}

std::optional<std::filesystem::path> find_program(const std::string& name) {
  const auto executable = [](const std::filesystem::path& path) {
    std::error_code ignored;
    return std::filesystem::is_regular_file(path, ignored) && ::access(path.c_str(), X_OK) == 0;
  };
  if (name.find('/') != std::string::npos) {
    if (executable(name)) return name;
    return std::nullopt;
  }
  const char* const path = std::getenv("PATH");
  std::string folders = path == nullptr ? "" : path;
  while (!folders.empty()) {
    const std::size_t colon = folders.find(':');
    const std::string folder = folders.substr(0, colon);
    folders = colon == std::string::npos ? "" : folders.substr(colon + 1);
    if (!folder.empty() && executable(folder + "/" + name)) return folder + "/" + name;
  }
  return std::nullopt;
}

class ChildProcess::State : public std::enable_shared_from_this<State> {
 public:
  State(Loop& loop, ChildHandlers handlers)
      : loop_(loop), handlers_(std::move(handlers)), out_(loop), err_(loop), timer_(loop), drain_(loop) {}

  void start(const ChildCommand& command) {
    const auto program = find_program(command.program.string());
    if (!program)
      throw Error(ErrorCode::bad_input, command.program.string() + ": no such program" +
                                            (command.program.has_parent_path() ? "" : " in PATH"));
    SpawnPlan plan{
        .program = *program, .arguments = command.arguments, .environment = environment_of(command)};
    plan.own_group = command.group == ChildGroup::own;
    plan.death_signal = command.death_signal;
    Descriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    if (null.get() < 0) throw errno_error(ErrorCode::failed, "cannot open /dev/null", errno);
    if (command.in != ChildStream::inherited) plan.in = null.get();
    Descriptor log;
    if (!command.log_file.empty())
      log = Descriptor(::open(command.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!command.log_file.empty() && log.get() < 0)
      throw errno_error(ErrorCode::failed, "cannot write " + command.log_file.string(), errno);
    if (command.out == ChildStream::log_file) plan.out = log.get();
    if (command.err == ChildStream::log_file) plan.err = log.get();
    Descriptor out_write = open_stream(command.out, null.get(), plan.out, out_);
    Descriptor err_write = open_stream(command.err, null.get(), plan.err, err_);
    pid_ = spawn(plan);
    running_ = true;
    watch();
    read_lines(out_, Source::out);
    read_lines(err_, Source::err);
  }

  int pid() const { return pid_; }
  bool running() const { return running_; }
  void signal(int number) {
    if (running_) ::kill(pid_, number);
  }

  void stop(std::chrono::milliseconds grace) {
    if (!running_) return;
    signal(SIGTERM);
    signal(SIGCONT);  // a stopped process would not see it
    timer_.expires_after(grace);
    timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (!error) self->signal(SIGKILL);
    });
  }

  void abandon() {
    handlers_ = {};
    if (running_) {
      ::kill(pid_, SIGKILL);
      reap();
    }
    close_streams();
    timer_.cancel();
    drain_.cancel();
  }

 private:
  struct Output {
    explicit Output(Loop& loop) : stream(loop) {}
    asio::posix::stream_descriptor stream;
    std::array<char, 4096> buffer{};
    std::string line;
    bool open = false;
  };

  static Descriptor open_stream(ChildStream kind, int null, int& child_end, Output& output) {
    if (kind == ChildStream::inherited || kind == ChildStream::log_file) return {};
    if (kind == ChildStream::null_device) {
      child_end = null;
      return {};
    }
    auto [read, write] = make_pipe();
    output.stream.assign(read.release());
    output.open = true;
    child_end = write.get();
    return std::move(write);
  }

  // A thread waits without reaping, so that the process id stays ours until the loop has seen the end: a
  // signal can never hit a stranger who was given the same number.
  void watch() {
    waiter_ =
        std::jthread([pid = pid_, self = shared_from_this(), work = asio::make_work_guard(loop_)]() mutable {
          siginfo_t info{};
          while (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
          }
          Loop& loop = self->loop_;
          asio::post(loop, [self = std::move(self)] { self->on_ended(); });
        });
  }

  void reap() {
    int status = 0;
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    running_ = false;
    if (WIFSIGNALED(status))
      exit_ = {.code = 128 + WTERMSIG(status), .signal = WTERMSIG(status)};
    else
      exit_ = {.code = WEXITSTATUS(status), .signal = std::nullopt};
  }

  void on_ended() {
    if (!running_) return;  // abandoned
    reap();
    timer_.cancel();
    drain_.expires_after(kDrain);
    drain_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (error) return;
      self->close_streams();
      self->report();
    });
    report();
  }

  void report() {
    if (running_ || out_.open || err_.open || !handlers_.on_exit) return;
    drain_.cancel();
    // Once; and the handler may destroy the ChildProcess.
    const auto on_exit = std::exchange(handlers_, {}).on_exit;
    on_exit(exit_);
  }

  void read_lines(Output& output, Source source) {
    if (!output.open) return;
    output.stream.async_read_some(asio::buffer(output.buffer),
                                  [self = shared_from_this(), &output, source](
                                      const boost::system::error_code& error, std::size_t bytes) {
                                    if (error) {
                                      if (!output.open) return;
                                      self->flush(output, source);
                                      output.open = false;
                                      self->report();
                                      return;
                                    }
                                    for (std::size_t i = 0; i < bytes; ++i) {
                                      const char character = output.buffer[i];
                                      if (character != '\n') output.line.push_back(character);
                                      if (character == '\n' || output.line.size() >= kLineBytesMax)
                                        self->emit(output, source);
                                    }
                                    self->read_lines(output, source);
                                  });
  }

  void emit(Output& output, Source source) {
    const std::string line = std::exchange(output.line, {});
    const auto on_line = handlers_.on_line;
    if (on_line) on_line(source, line);
  }
  void flush(Output& output, Source source) {
    if (!output.line.empty()) emit(output, source);
  }

  void close_streams() {
    for (auto [output, source] : {std::pair{&out_, Source::out}, std::pair{&err_, Source::err}}) {
      if (!output->open) continue;
      flush(*output, source);
      output->open = false;
      boost::system::error_code ignored;
      output->stream.close(ignored);
    }
  }

  Loop& loop_;
  ChildHandlers handlers_;
  Output out_;
  Output err_;
  asio::steady_timer timer_;
  asio::steady_timer drain_;
  pid_t pid_ = 0;
  bool running_ = false;
  ChildExit exit_;

 public:
  std::jthread waiter_;  // joined by the handle, after the child was reaped or killed
};

ChildProcess::ChildProcess(Loop& loop, const ChildCommand& command, ChildHandlers handlers)
    : state_(std::make_shared<State>(loop, std::move(handlers))) {
  state_->start(command);
}
ChildProcess::~ChildProcess() {
  state_->abandon();
  state_->waiter_ = {};
}
int ChildProcess::pid() const { return state_->pid(); }
bool ChildProcess::running() const { return state_->running(); }
void ChildProcess::signal(int number) { state_->signal(number); }
void ChildProcess::stop(std::chrono::milliseconds grace) { state_->stop(grace); }

}  // namespace quench::cluster
