// A simulated worker process: the real filing of messages (worker/reactor.h), and in place of the compute thread a
// coroutine that says what that thread says, in its order, and waits where it waits.
#pragma once

#include <coroutine>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "schemas/error.h"
#include "tests/simulation/link.h"
#include "worker/state.h"

namespace quench::simulation {

class Process;

// A coroutine that belongs to a process and ends with it. An Error that leaves it ends the process.
class Script {
 public:
  struct promise_type {
    template <typename Owner>  // GCC 12 looks for the member function's own class
    explicit promise_type(Owner& owner) : process(owner) {}
    Script get_return_object() { return Script(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    std::suspend_always final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception();
    Process& process;
  };
  explicit Script(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  Script(Script&& from) noexcept : handle_(std::exchange(from.handle_, {})) {}
  Script(const Script&) = delete;
  ~Script() {
    if (handle_) handle_.destroy();
  }
  void resume() const { handle_.resume(); }

 private:
  std::coroutine_handle<promise_type> handle_;
};

class Process : public std::enable_shared_from_this<Process> {
 public:
  // How it ended: an exit code and what it said.
  using OnExit = std::function<void(Process&, int code, const std::string& reason)>;
  Process(Timeline& timeline, OnExit on_exit) : timeline_(timeline), on_exit_(std::move(on_exit)) {}
  virtual ~Process() = default;
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // The connection that its handshake won. The script begins.
  void connected(std::shared_ptr<Link> link);
  void kill(const std::string& reason) { end(137, reason); }
  void end(int code, const std::string& reason);
  // SIGSTOP for so long: nothing is heard, said or computed.
  void stop_for(Ms for_ms);
  // Computing takes so much longer, while the connection lives on.
  void hang_for(Ms for_ms) { hung_until_ = std::max(hung_until_, timeline_.now() + for_ms); }
  bool alive() const { return alive_; }
  const std::shared_ptr<Link>& link() const { return link_; }
  std::size_t filed() const { return state_.orders.size() + state_.grants.size(); }

  // `co_await until(condition)`: like the real waits, throws the loss of the coordinator unless the condition holds.
  struct Until {
    Process& process;
    std::function<bool()> ready;
    bool await_ready() const { return ready() || process.state_.lost; }
    void await_suspend(std::coroutine_handle<> handle) { process.waiting_.push_back({ready, handle}); }
    void await_resume() const {
      if (!ready()) throw Error(*process.state_.lost);
    }
  };
  Until until(std::function<bool()> ready) { return {*this, std::move(ready)}; }
  // `co_await compute(ms)`.
  struct Compute {
    Process& process;
    Ms for_ms;
    bool await_ready() const { return false; }
    void await_suspend(std::coroutine_handle<> handle) { process.wake(handle, for_ms); }
    void await_resume() const {}
  };
  Compute compute(Ms for_ms) { return {*this, for_ms}; }
  void say(const Message& message, Bytes payload = {}) { link_->send(Link::worker, message, std::move(payload)); }
  void on_script_failed(const Error& error);
  // Resumes whoever waits for what is true now.
  void look_again();

 protected:
  virtual void begin() = 0;
  void run(Script script) { scripts_.push_back(std::move(script)); scripts_.back().resume(); }
  worker::State state_;
  Timeline& timeline_;

 private:
  void wake(std::coroutine_handle<> handle, Ms after);

  OnExit on_exit_;
  std::shared_ptr<Link> link_;
  struct Waiting {
    std::function<bool()> ready;
    std::coroutine_handle<> handle;
  };
  std::list<Waiting> waiting_;
  std::list<Script> scripts_;
  Ms stopped_until_ = 0;
  Ms hung_until_ = 0;
  bool alive_ = true;
};

}  // namespace quench::simulation
