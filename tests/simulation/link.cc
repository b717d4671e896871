#include "tests/simulation/link.h"

#include <algorithm>
#include <utility>

#include "cluster/net/limits.h"
#include "schemas/error.h"

namespace quench::simulation {
namespace {

constexpr Ms kSilence = cluster::kSilenceMsMax;
constexpr Ms kFirstResend = 200;

}  // namespace

Frame make_frame(const Message& message, Bytes payload, AttemptNumber attempt) {
  Frame frame;
  frame.control = encode(message);
  frame.payload = std::move(payload);
  frame.header = cluster::encode_header({attempt, static_cast<std::uint32_t>(frame.control.size()),
                                         static_cast<std::uint32_t>(frame.payload.size())});
  return frame;
}

void Link::send(Side from, const Message& message, Bytes payload) {
  if (ends_[from].closed) return;
  send(from, make_frame(message, std::move(payload), attempt_));
}

void Link::send(Side from, Frame frame) {
  if (ends_[from].closed || cut_) return;
  End& to = ends_[other(from)];
  Ms late = dice_.between(0, weather_.delay_ms_max);
  for (Ms resend = kFirstResend; dice_.below(1000) < weather_.lost_in_1000; resend *= 2) {
    late += resend;
    if (late > kSilence) return cut();
  }
  // A packet that overtakes others waits for them; a doubled one is thrown away.
  to.last_arrival = std::max(to.last_arrival, timeline_.now() + late);
  to.inbox.emplace_back(to.last_arrival, std::move(frame));
  pump_at(other(from), to.last_arrival);
}

void Link::pump_at(Side to, Ms when) {
  timeline_.after(when - timeline_.now(), [self = shared_from_this(), to] { self->pump(to); });
}

void Link::pump(Side to) {
  End& end = ends_[to];
  while (!end.closed && !end.inbox.empty() && end.inbox.front().first <= timeline_.now()) {
    if (end.held_until > timeline_.now()) return pump_at(to, end.held_until);
    Frame frame = std::move(end.inbox.front().second);
    end.inbox.pop_front();
    deliver(to, std::move(frame));
  }
}

void Link::deliver(Side to, Frame frame) {
  try {
    const cluster::FrameHeader header = cluster::parse_header(frame.header);
    switch (cluster::age_of(header, attempt_)) {
      case cluster::FrameAge::stale: return;
      case cluster::FrameAge::newer: throw Error(ErrorCode::refused, "a frame of a newer attempt");
      case cluster::FrameAge::current: break;
    }
    const Handlers handlers = ends_[to].handlers;
    handlers.on_message(decode_message(frame.control), std::move(frame.payload));
  } catch (const Error& error) {
    close(to, error);
    close_later(other(to), 1, "the peer closed the connection");
  }
}

void Link::leave(Side side) {
  if (ends_[side].closed) return;
  ends_[side].closed = true;
  ends_[side].handlers = {};
  ends_[side].inbox.clear();
  // What it sent before still arrives, and its end behind that.
  const Ms after_inbox = std::max<Ms>(0, ends_[other(side)].last_arrival - timeline_.now());
  if (!cut_) close_later(other(side), after_inbox + dice_.between(0, weather_.delay_ms_max), "the peer closed the connection");
}

void Link::cut() {
  if (cut_) return;
  cut_ = true;
  for (const Side side : {coordinator, worker}) {
    std::erase_if(ends_[side].inbox, [this](const auto& frame) { return frame.first > timeline_.now(); });
    close_later(side, dice_.between(1, kSilence), "nothing came from the peer for 8000 ms");
  }
}

void Link::hold(Side side, Ms for_ms) {
  ends_[side].held_until = std::max(ends_[side].held_until, timeline_.now() + for_ms);
  if (for_ms <= kSilence) return;
  timeline_.after(kSilence, [self = shared_from_this(), side] {
    self->close(other(side), Error(ErrorCode::timed_out, "nothing came from the peer for 8000 ms"));
  });
  close_later(side, for_ms, "the peer closed the connection");
}

void Link::close_later(Side side, Ms delay, const std::string& reason) {
  timeline_.after(delay, [self = shared_from_this(), side, reason] {
    End& end = self->ends_[side];
    // A process that stands still learns of it when it goes on.
    if (end.held_until > self->timeline_.now()) return self->close_later(side, end.held_until - self->timeline_.now(), reason);
    self->pump(side);
    self->close(side, Error(ErrorCode::unreachable, reason));
  });
}

void Link::close(Side side, const Error& reason) {
  End& end = ends_[side];
  if (end.closed) return;
  end.closed = true;
  end.inbox.clear();
  const Handlers handlers = std::exchange(end.handlers, {});
  if (handlers.on_closed) handlers.on_closed(reason);
}

}  // namespace quench::simulation
