// One peer on the control plane: messages out, messages in. Owns the socket. Everything happens on the
// loop's thread but send_from_thread and closed().
//
// Guarantees
// - Messages arrive in the order sent, each whole, its payload already checked against the digest
//   it names (ChunkPut, ChunkReply).
// - Heartbeats are sent and consumed here. Frames of an older attempt are dropped and counted;
//   of a newer one they close the connection.
// - What is queued is bounded (limits.h); a frame takes at most frame_ms_max from first byte to last.
// - on_closed comes at most once and last, never from inside a call of ours, and never after the
//   Connection is destroyed. A Connection may be destroyed from inside its own callbacks.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "cluster/net/frame.h"
#include "cluster/net/socket.h"
#include "cluster/net/tls.h"
#include "schemas/codec.h"
#include "schemas/error.h"
#include "schemas/ids.h"
#include "schemas/messages.h"

namespace boost::asio {
class thread_pool;
}

namespace quench::cluster {

struct ConnectionHandlers {
  // An Error thrown here closes the connection with it.
  std::function<void(Message, Bytes payload)> on_message;
  std::function<void(const Error& reason)> on_closed;
};

struct ConnectionOptions {
  AttemptNumber attempt;  // written into every frame; what received frames must carry
  std::uint32_t frame_ms_max = kFrameMsMax;
  std::size_t send_queue_bytes_pause = kSendQueueBytesPause;
  std::size_t send_queue_bytes_max = kSendQueueBytesMax;
  FrameBounds bounds;
  // Where payloads are hashed, so that the loop serves other peers meanwhile; null: on the loop. Must
  // outlive the connection.
  boost::asio::thread_pool* hash_pool = nullptr;
  // Null: the connection is not encrypted.
  std::shared_ptr<TlsContext> tls;
  TlsSide tls_side = TlsSide::client;
};

class Connection {
 public:
  Connection(Loop& loop, Socket socket, ConnectionOptions options);
  ~Connection();  // closes at once, without on_closed; what is queued may be lost
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Starts reading (first call) or hands the peer over to new handlers (later calls).
  void set_handlers(ConnectionHandlers handlers);
  // After the handshake: `bounds` instead of the narrow ones, heartbeats by `terms`, frames of `attempt`.
  void begin_service(const Welcome& terms, AttemptNumber attempt, const FrameBounds& bounds = {});

  // Loop thread. Queues one frame; never blocks. When the queue is beyond its bound the connection
  // closes with Error(timed_out). After closing it does nothing.
  void send(const Message& message, std::span<const std::uint8_t> payload = {});
  void send(const Message& message, Bytes&& payload);

  // Any thread but the loop's: encodes here, waits for room in the queue, queues. Throws
  // Error(timed_out) when there is no room within `deadline`, Error(unreachable) naming the reason when
  // the connection is or becomes closed. Returning means queued, not received.
  void send_from_thread(const Message& message, std::span<const std::uint8_t> payload,
                        std::chrono::milliseconds deadline);
  void send_from_thread(const Message& message, Bytes&& payload, std::chrono::milliseconds deadline);

  // Loop thread. A receiver that cannot keep up stops reading; TCP then slows the peer down.
  void pause_reading();
  void resume_reading();

  // Loop thread. Sends what is queued (within frame_ms_max), then closes; on_closed follows.
  void close_after_sending(const Error& reason);
  // Loop thread. Closes now; on_closed follows.
  void close(const Error& reason);

  // Loop thread: what the frame being delivered carries; before begin_service it is not checked.
  AttemptNumber peer_attempt() const;

  // Any thread: the reason, once closed.
  std::optional<Error> closed() const;
  std::size_t queued_bytes() const;    // any thread
  std::uint64_t stale_frames() const;  // any thread: dropped for their older attempt

 private:
  class State;
  // Two owners: this handle and the pending operations of the loop, which must find their buffers
  // alive when the handle goes first.
  std::shared_ptr<State> state_;
};

}  // namespace quench::cluster
