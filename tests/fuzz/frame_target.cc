#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <cerrno>
#include <memory>
#include <optional>
#include <stdexcept>

#include "cluster/net/frame_reader.h"
#include "cluster/net/stream.h"
#include "tests/fuzz/targets.h"
#include "tests/schemas/random_values.h"

namespace quench::fuzz {
namespace {

// What a stranger may make us hold.
constexpr cluster::FrameBounds kBounds{64 << 10, 64 << 10};

struct Reading : std::enable_shared_from_this<Reading> {
  Reading(cluster::Loop& loop, int end)
      : stream(cluster::Socket(loop, cluster::Socket::protocol_type(AF_UNIX, 0), end), nullptr, cluster::TlsSide::server),
        reader(stream, {.on_first_byte = [] {},
                        .on_bytes = [] {},
                        .on_frame = [this](cluster::IncomingFrame frame) { on_frame(frame); },
                        .on_failed = [this](const Error& error) { failure = error; }}) {}
  void on_frame(const cluster::IncomingFrame& frame) {
    if (frame.control.size() > kBounds.control_bytes_max || frame.payload.size() > kBounds.payload_bytes_max ||
        frame.control.size() != frame.header.control_bytes || frame.payload.size() != frame.header.payload_bytes)
      throw std::logic_error("a frame of another size than its header says, or beyond the bounds");
    encode(decode_message(frame.control));
    reader.read(kBounds, shared_from_this());
  }
  cluster::Stream stream;
  cluster::FrameReader reader;
  std::optional<Error> failure;
};

}  // namespace

Bytes valid_frames(std::uint64_t seed) {
  RandomFiller random(seed);
  Bytes stream;
  for (std::uint64_t frame = 1 + random.below(3); frame > 0; --frame) {
    const Bytes control = encode(random.make_alternative<Message>(random.below(std::variant_size_v<Message>)));
    const Bytes payload(random.below(40), static_cast<std::uint8_t>(seed));
    const cluster::FrameHeaderBytes header =
        cluster::encode_header({{static_cast<std::uint32_t>(random.below(3))},
                                static_cast<std::uint32_t>(control.size()),
                                static_cast<std::uint32_t>(payload.size())});
    for (const std::span<const std::uint8_t> part : {std::span<const std::uint8_t>(header), std::span(control), std::span(payload)})
      stream.insert(stream.end(), part.begin(), part.end());
  }
  return stream;
}

void take_frames(const Bytes& input) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) throw errno_error(ErrorCode::internal, "socketpair", errno);
  // Inputs of at most 64 KiB fit the socket's buffer.
  const ssize_t sent = ::send(ends[1], input.data(), input.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  ::close(ends[1]);
  if (sent != static_cast<ssize_t>(input.size())) throw std::logic_error("the input did not fit the socket");
  static cluster::Loop loop;
  loop.restart();
  const auto reading = std::make_shared<Reading>(loop, ends[0]);
  reading->reader.read(kBounds, reading);
  loop.run();
  if (!reading->failure) throw std::logic_error("the reader ended without a word");
  // The end of a stream between two frames is no fault.
  const bool whole = reading->failure->code() == ErrorCode::unreachable &&
                     std::string_view(reading->failure->what()) == "the peer closed the connection";
  // A stream that ends within a frame and a frame of another version are refused in words of their own.
  if (!whole) throw Error(ErrorCode::corrupt, reading->failure->what());
}

}  // namespace quench::fuzz
