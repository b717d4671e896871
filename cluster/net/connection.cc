#include "cluster/net/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <mutex>
#include <string>
#include <utility>

#include "cluster/net/frame_reader.h"
#include "cluster/net/heartbeat.h"
#include "cluster/net/send_queue.h"
#include "cluster/net/stream.h"

namespace quench::cluster {
namespace asio = boost::asio;
namespace {

using Clock = std::chrono::steady_clock;
using Time = Clock::time_point;

// When our own loop was away for longer than this, the peer's silence in that time is not its fault.
constexpr std::chrono::milliseconds kLoopLatenessMax{100};

const Digest* payload_digest(const Message& message) {
  if (const auto* put = std::get_if<ChunkPut>(&message)) return &put->digest;
  if (const auto* reply = std::get_if<ChunkReply>(&message)) return &reply->digest;
  return nullptr;
}

// Throws Error(corrupt) unless the payload is what the message says.
void check_payload(const Message& message, const Bytes& payload) {
  const Digest* const digest = payload_digest(message);
  if (digest == nullptr) {
    if (payload.empty()) return;
    throw Error(ErrorCode::corrupt,
                "a message that has no payload came with " + std::to_string(payload.size()) + " bytes of it");
  }
  if (sha256(payload) != *digest)
    throw Error(ErrorCode::corrupt, "chunk " + digest->short_hex() + ": its " +
                                        std::to_string(payload.size()) + " bytes have another digest");
}

// Small control messages must not wait for Nagle's timer.
void tune(Socket& socket) {
  int domain = 0;
  socklen_t size = sizeof domain;
  ::getsockopt(socket.native_handle(), SOL_SOCKET, SO_DOMAIN, &domain, &size);
  if (domain != AF_INET && domain != AF_INET6) return;
  const int on = 1;
  ::setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

}  // namespace

class Connection::State : public std::enable_shared_from_this<State> {
 public:
  State(Loop& loop, Socket socket, ConnectionOptions options)
      : loop_(loop),
        stream_(std::move(socket), options.tls, options.tls_side),
        shaken_(!stream_.encrypted()),
        options_(std::move(options)),
        attempt_(options_.attempt.value),
        queue_(options_.send_queue_bytes_pause, options_.send_queue_bytes_max),
        reader_(stream_, {.on_first_byte = [this] { begin_read_deadline(); },
                          .on_bytes = [this] { on_bytes(); },
                          .on_frame = [this](IncomingFrame frame) { on_frame(std::move(frame)); },
                          .on_failed = [this](const Error& error) { close(error); }}),
        timer_(loop) {
    tune(stream_.socket());
  }

  void set_handlers(ConnectionHandlers handlers) {
    handlers_ = std::make_shared<const ConnectionHandlers>(std::move(handlers));
    if (closed_) return report_closed();
    if (!shaken_) return shake();
    maybe_read();
  }
  // The handle is gone: no callbacks any more.
  void detach() {
    handlers_.reset();
    close(Error(ErrorCode::interrupted, "the connection was dropped"));
  }

  void begin_service(const Welcome& terms, AttemptNumber attempt, const FrameBounds& bounds) {
    options_.bounds = bounds;
    attempt_ = attempt.value;
    in_service_ = true;
    heartbeat_.emplace(terms.heartbeat_ms, terms.silence_ms_max, Clock::now());
    if (!reader_.reading()) heartbeat_->on_reading_paused();
    schedule();
  }

  OutgoingFrame frame_of(const Message& message, Bytes&& payload) const {
    OutgoingFrame frame;
    frame.control = encode(message);
    frame.payload = std::move(payload);
    frame.header = encode_header({.attempt = {attempt_.load()},
                                  .control_bytes = static_cast<std::uint32_t>(frame.control.size()),
                                  .payload_bytes = static_cast<std::uint32_t>(frame.payload.size())});
    return frame;
  }

  void send(OutgoingFrame&& frame) {
    if (closed_ || closing_) return;
    if (!queue_.push(std::move(frame)))
      return close(Error(ErrorCode::timed_out, "the peer does not read: " + std::to_string(queue_.bytes()) +
                                                   " bytes wait to be sent to it"));
    maybe_write();
  }

  void send_from_thread(OutgoingFrame&& frame, std::chrono::milliseconds deadline) {
    QUENCH_CHECK(!loop_.get_executor().running_in_this_thread());
    queue_.push_waiting(std::move(frame), deadline);
    asio::post(loop_, [self = shared_from_this()] { self->maybe_write(); });
  }

  void pause_reading() { paused_ = true; }
  void resume_reading() {
    paused_ = false;
    maybe_read();
  }

  void close_after_sending(const Error& reason) {
    if (closed_) return;
    closing_ = reason;
    if (queue_.front() == nullptr) close(reason);
  }

  void close(const Error& reason) {
    {
      const std::lock_guard lock(closed_mutex_);
      if (closed_) return;
      closed_ = reason;
    }
    queue_.close(reason);
    timer_.cancel();
    boost::system::error_code ignored;  // the peer may have gone first
    stream_.socket().shutdown(Socket::shutdown_both, ignored);
    stream_.socket().close(ignored);
    report_closed();
  }

  std::optional<Error> closed() const {
    const std::lock_guard lock(closed_mutex_);
    return closed_;
  }
  std::size_t queued_bytes() const { return queue_.bytes(); }
  std::uint64_t stale_frames() const { return stale_frames_; }
  AttemptNumber peer_attempt() const { return peer_attempt_; }

 private:
  // Of TLS, before any frame; what is sent meanwhile waits in the queue.
  void shake() {
    if (shaking_) return;
    shaking_ = true;
    begin_read_deadline();
    stream_.async_handshake([self = shared_from_this()](const boost::system::error_code& error, std::size_t) {
      if (self->closed_) return;
      if (error)
        return self->close(Error(ErrorCode::unreachable, "no encrypted connection with the peer: " + error.message()));
      self->shaken_ = true;
      self->read_deadline_.reset();
      self->maybe_write();
      self->maybe_read();
    });
  }

  // --- Reading
  void maybe_read() {
    const bool wanted = shaken_ && !closed_ && !closing_ && !paused_ && !delivering_ && !reader_.reading() &&
                        handlers_ && handlers_->on_message && !queue_.above_pause();
    if (!wanted) {
      if (heartbeat_ && !reader_.reading()) heartbeat_->on_reading_paused();
      return;
    }
    if (heartbeat_) heartbeat_->on_reading_resumed(Clock::now());
    reader_.read(options_.bounds, shared_from_this());
    schedule();
  }

  void begin_read_deadline() {
    read_deadline_ = Clock::now() + std::chrono::milliseconds(options_.frame_ms_max);
    schedule();
  }
  void on_bytes() {
    if (heartbeat_) heartbeat_->on_received(Clock::now());
  }

  void on_frame(IncomingFrame frame) {
    read_deadline_.reset();
    if (closed_) return;
    const FrameAge age = in_service_ ? age_of(frame.header, AttemptNumber{attempt_}) : FrameAge::current;
    if (age == FrameAge::stale) {
      ++stale_frames_;
      return maybe_read();
    }
    if (age == FrameAge::newer)
      return close(Error(ErrorCode::refused, "a frame of attempt " +
                                                 std::to_string(frame.header.attempt.value) +
                                                 " came, this is attempt " + std::to_string(attempt_)));
    peer_attempt_ = frame.header.attempt;
    delivering_ = true;
    try {
      Message message = decode_message(frame.control);
      if (options_.hash_pool != nullptr && !frame.payload.empty())
        return check_on_pool(std::move(message), std::move(frame.payload));
      check_payload(message, frame.payload);
      deliver(std::move(message), std::move(frame.payload));
    } catch (const Error& error) {
      delivering_ = false;
      close(error);
    }
  }

  // Reading waits until the payload is checked, which keeps the order; other peers are served meanwhile.
  void check_on_pool(Message&& message, Bytes&& payload) {
    if (heartbeat_) heartbeat_->on_reading_paused();
    asio::post(*options_.hash_pool, [self = shared_from_this(), message = std::move(message),
                                     payload = std::move(payload)]() mutable {
      std::optional<Error> wrong;
      try {
        check_payload(message, payload);
      } catch (const Error& error) {
        wrong = error;
      }
      Loop& loop = self->loop_;
      asio::post(loop, [self = std::move(self), message = std::move(message), payload = std::move(payload),
                        wrong = std::move(wrong)]() mutable {
        if (wrong) return self->close(*wrong);
        try {
          self->deliver(std::move(message), std::move(payload));
        } catch (const Error& error) {
          self->close(error);
        }
      });
    });
  }

  void deliver(Message&& message, Bytes&& payload) {
    // A copy, because the handler may replace itself or destroy the connection.
    const std::shared_ptr<const ConnectionHandlers> handlers = handlers_;
    if (!closed_ && handlers && !std::holds_alternative<quench::Heartbeat>(message))
      handlers->on_message(std::move(message), std::move(payload));
    delivering_ = false;
    maybe_read();
  }

  // --- Writing
  void maybe_write() {
    if (closed_ || writing_ || !shaken_) return;
    const OutgoingFrame* const frame = queue_.front();
    if (frame == nullptr) return;
    writing_ = true;
    const Time now = Clock::now();
    write_deadline_ = now + std::chrono::milliseconds(options_.frame_ms_max);
    if (heartbeat_) heartbeat_->on_sent(now);
    schedule();
    stream_.async_write({asio::buffer(frame->header), asio::buffer(frame->control), asio::buffer(frame->payload)},
                        [self = shared_from_this()](const boost::system::error_code& error, std::size_t) {
                          self->on_written(error);
                        });
  }

  void on_written(const boost::system::error_code& error) {
    writing_ = false;
    write_deadline_.reset();
    if (closed_) return;
    if (error) return close(Error(ErrorCode::unreachable, "writing to the peer: " + error.message()));
    if (heartbeat_) heartbeat_->on_sent(Clock::now());
    queue_.pop();
    maybe_write();
    if (closing_ && !writing_) return close(*closing_);
    maybe_read();  // the queue may have come below its pause
  }

  // --- Time. One timer, set to the earliest of what may happen.
  void schedule() {
    if (closed_) return;
    std::optional<Time> next;
    const auto consider = [&](const std::optional<Time>& time) {
      if (time && (!next || *time < *next)) next = time;
    };
    consider(read_deadline_);
    consider(write_deadline_);
    if (heartbeat_) consider(heartbeat_->decide(Clock::now()).look_again);
    if (!next || (timer_set_ && timer_.expiry() <= *next)) return;
    timer_set_ = true;
    timer_.expires_at(*next);
    timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (!error) self->on_timer();
    });
  }

  void on_timer() {
    timer_set_ = false;
    if (closed_) return;
    const Time now = Clock::now();
    const auto late = now - timer_.expiry();
    if (late > kLoopLatenessMax) {
      if (read_deadline_) *read_deadline_ += late;
      if (write_deadline_) *write_deadline_ += late;
      if (heartbeat_) heartbeat_->on_received(now);
    }
    const std::string limit = std::to_string(options_.frame_ms_max) + " ms";
    if (read_deadline_ && now >= *read_deadline_)
      return close(Error(ErrorCode::timed_out, "the peer took more than " + limit + " to send one frame"));
    if (write_deadline_ && now >= *write_deadline_)
      return close(Error(ErrorCode::timed_out, "the peer took more than " + limit + " to read one frame"));
    if (heartbeat_) {
      switch (heartbeat_->decide(now).action) {
        case HeartbeatClock::Action::lost:
          return close(Error(ErrorCode::timed_out, "nothing came from the peer for " +
                                                       std::to_string(heartbeat_->silence_ms_max()) + " ms"));
        case HeartbeatClock::Action::send:
          // A frame being written, or waiting behind it, is a sign of life too.
          if (!writing_) send(frame_of(quench::Heartbeat{}, {}));
          heartbeat_->on_sent(now);
          break;
        case HeartbeatClock::Action::wait:
          break;
      }
    }
    schedule();
  }

  // --- The end
  void report_closed() {
    asio::post(loop_, [self = shared_from_this()] {
      const std::shared_ptr<const ConnectionHandlers> handlers = self->handlers_;
      if (self->closed_reported_ || !handlers || !handlers->on_closed) return;
      self->closed_reported_ = true;
      handlers->on_closed(*self->closed_);
    });
  }

  Loop& loop_;
  Stream stream_;
  bool shaken_;  // frames may go
  bool shaking_ = false;
  ConnectionOptions options_;
  std::atomic<std::uint32_t> attempt_;
  SendQueue queue_;
  FrameReader reader_;
  asio::steady_timer timer_;
  bool timer_set_ = false;
  // Two owners: this state and a call of one of them under way.
  std::shared_ptr<const ConnectionHandlers> handlers_;
  std::optional<HeartbeatClock> heartbeat_;
  std::optional<Time> read_deadline_;
  std::optional<Time> write_deadline_;
  AttemptNumber peer_attempt_;
  bool in_service_ = false;
  bool paused_ = false;
  bool delivering_ = false;
  bool writing_ = false;
  std::optional<Error> closing_;
  mutable std::mutex closed_mutex_;  // for closed() from other threads; the loop's thread alone writes
  std::optional<Error> closed_;
  bool closed_reported_ = false;
  std::atomic<std::uint64_t> stale_frames_{0};
};

Connection::Connection(Loop& loop, Socket socket, ConnectionOptions options)
    : state_(std::make_shared<State>(loop, std::move(socket), std::move(options))) {}
Connection::~Connection() { state_->detach(); }

void Connection::set_handlers(ConnectionHandlers handlers) { state_->set_handlers(std::move(handlers)); }
void Connection::begin_service(const Welcome& terms, AttemptNumber attempt, const FrameBounds& bounds) {
  state_->begin_service(terms, attempt, bounds);
}
void Connection::send(const Message& message, std::span<const std::uint8_t> payload) {
  send(message, Bytes(payload.begin(), payload.end()));
}
void Connection::send(const Message& message, Bytes&& payload) {
  state_->send(state_->frame_of(message, std::move(payload)));
}
void Connection::send_from_thread(const Message& message, std::span<const std::uint8_t> payload,
                                  std::chrono::milliseconds deadline) {
  send_from_thread(message, Bytes(payload.begin(), payload.end()), deadline);
}
void Connection::send_from_thread(const Message& message, Bytes&& payload,
                                  std::chrono::milliseconds deadline) {
  state_->send_from_thread(state_->frame_of(message, std::move(payload)), deadline);
}
void Connection::pause_reading() { state_->pause_reading(); }
void Connection::resume_reading() { state_->resume_reading(); }
void Connection::close_after_sending(const Error& reason) { state_->close_after_sending(reason); }
void Connection::close(const Error& reason) { state_->close(reason); }
std::optional<Error> Connection::closed() const { return state_->closed(); }
std::size_t Connection::queued_bytes() const { return state_->queued_bytes(); }
std::uint64_t Connection::stale_frames() const { return state_->stale_frames(); }
AttemptNumber Connection::peer_attempt() const { return state_->peer_attempt(); }

}  // namespace quench::cluster
