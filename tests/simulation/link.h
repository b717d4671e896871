// A connection between the coordinator and one worker over a bad network. Frames are bytes: header and control message are
// encoded where they are sent and parsed where they arrive. Below them packets are lost, doubled, late and out of order, and
// sent again, as TCP does; what reaches the two ends is therefore in order and whole, or ends with the connection, of which
// each end learns at its own time.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "cluster/net/frame.h"
#include "schemas/codec.h"
#include "schemas/messages.h"
#include "tests/simulation/timeline.h"

namespace quench::simulation {

struct Weather {
  std::uint64_t lost_in_1000 = 0;
  Ms delay_ms_max = 1;
};

struct Frame {
  cluster::FrameHeaderBytes header{};
  Bytes control;
  Bytes payload;
};
Frame make_frame(const Message& message, Bytes payload, AttemptNumber attempt);

class Link : public std::enable_shared_from_this<Link> {
 public:
  enum Side { coordinator = 0, worker = 1 };
  struct Handlers {
    // An Error thrown here ends the connection with it.
    std::function<void(Message, Bytes)> on_message;
    std::function<void(const Error&)> on_closed;  // at most once, and last
  };
  Link(Timeline& timeline, Dice& dice, Weather weather, AttemptNumber attempt)
      : timeline_(timeline), dice_(dice), weather_(weather), attempt_(attempt) {}

  void set_handlers(Side side, Handlers handlers) { ends_[side].handlers = std::move(handlers); }
  void send(Side from, const Message& message, Bytes payload = {});
  void send(Side from, Frame frame);
  // This end is gone (its process ended, or let go of it): it hears nothing more, the other end learns of it.
  void leave(Side side);
  // Nothing passes any more; both ends notice by silence.
  void cut();
  // This end's process stands still so long: what arrives waits, and after 8 s of silence the other end gives it up.
  void hold(Side side, Ms for_ms);

  AttemptNumber attempt() const { return attempt_; }
  bool open(Side side) const { return !ends_[side].closed; }
  std::size_t queued(Side to) const { return ends_[to].inbox.size(); }

 private:
  struct End {
    Handlers handlers;
    bool closed = false;
    Ms held_until = 0;
    Ms last_arrival = 0;
    std::deque<std::pair<Ms, Frame>> inbox;
  };
  static Side other(Side side) { return side == coordinator ? worker : coordinator; }
  void pump(Side to);
  void pump_at(Side to, Ms when);
  void deliver(Side to, Frame frame);
  void close(Side side, const Error& reason);
  void close_later(Side side, Ms delay, const std::string& reason);

  Timeline& timeline_;
  Dice& dice_;
  Weather weather_;
  AttemptNumber attempt_;
  bool cut_ = false;
  std::array<End, 2> ends_;
};

}  // namespace quench::simulation
