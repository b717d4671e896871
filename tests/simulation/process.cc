#include "tests/simulation/process.h"

#include <algorithm>
#include <utility>

#include "worker/reactor.h"

namespace quench::simulation {

void Script::promise_type::unhandled_exception() {
  try {
    throw;
  } catch (const Error& error) {
    process.on_script_failed(error);
  }
}

void Process::connected(std::shared_ptr<Link> link) {
  link_ = std::move(link);
  if (stopped_until_ > timeline_.now()) link_->hold(Link::worker, stopped_until_ - timeline_.now());
  const std::weak_ptr<Process> weak = weak_from_this();
  link_->set_handlers(Link::worker, {.on_message =
                                         [weak](Message message, Bytes payload) {
                                           const auto self = weak.lock();
                                           if (!self || !self->alive_) return;
                                           worker::on_message(self->state_, std::move(message), std::move(payload));
                                           self->look_again();
                                         },
                                     .on_closed =
                                         [weak](const Error& reason) {
                                           const auto self = weak.lock();
                                           if (!self || !self->alive_) return;
                                           worker::on_coordinator_lost(
                                               self->state_, Error(ErrorCode::interrupted, std::string("lost the coordinator: ") +
                                                                                               reason.what()));
                                           self->look_again();
                                           // Even in the middle of a kernel, 5 s later.
                                           self->timeline_.after(5'000, [weak] {
                                             if (const auto late = weak.lock()) late->end(75, "lost the coordinator");
                                           });
                                         }});
  begin();
}

void Process::end(int code, const std::string& reason) {
  if (!alive_) return;
  alive_ = false;
  waiting_.clear();
  if (link_) link_->leave(Link::worker);
  // Behind what happens now: a script may be on the stack.
  timeline_.after(0, [self = shared_from_this(), code, reason] { self->on_exit_(*self, code, reason); });
}

void Process::stop_for(Ms for_ms) {
  stopped_until_ = std::max(stopped_until_, timeline_.now() + for_ms);
  if (link_) link_->hold(Link::worker, for_ms);
}

void Process::on_script_failed(const Error& error) {
  if (!alive_) return;
  if (!state_.lost) say(Failure{error.code(), error.what()});
  end(exit_code(error.code()), error.what());
}

void Process::look_again() {
  for (auto waiting = waiting_.begin(); alive_ && waiting != waiting_.end();) {
    if (!waiting->ready() && !state_.lost) {
      ++waiting;
      continue;
    }
    const std::coroutine_handle<> handle = waiting->handle;
    waiting_.erase(waiting);
    handle.resume();
    waiting = waiting_.begin();  // it may wait for another thing already
  }
}

void Process::wake(std::coroutine_handle<> handle, Ms after) {
  timeline_.after(after, [weak = weak_from_this(), handle] {
    const auto self = weak.lock();
    if (!self || !self->alive_) return;
    const Ms held = std::max(self->stopped_until_, self->hung_until_) - self->timeline_.now();
    if (held > 0) return self->wake(handle, held);
    handle.resume();
    self->look_again();
  });
}

}  // namespace quench::simulation
