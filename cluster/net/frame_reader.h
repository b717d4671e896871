// Reads one frame after another from a socket into memory it bounds. Knows bytes and lengths, not
// messages. Loop thread; its owner keeps it alive while a read is pending (through `alive`).
#pragma once

#include <functional>
#include <memory>

#include "cluster/net/frame.h"
#include "cluster/net/stream.h"
#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::cluster {

struct IncomingFrame {
  FrameHeader header;
  Bytes control;
  Bytes payload;
};

class FrameReader {
 public:
  struct Handlers {
    std::function<void()> on_first_byte;  // of a frame: its deadline begins
    std::function<void()> on_bytes;       // a sign of life
    std::function<void(IncomingFrame)> on_frame;
    std::function<void(const Error&)> on_failed;  // the stream cannot go on
  };
  FrameReader(Stream& stream, Handlers handlers) : stream_(stream), handlers_(std::move(handlers)) {}

  // Reads one frame; then on_frame or on_failed. `alive` owns this reader.
  void read(const FrameBounds& bounds, std::shared_ptr<void> alive);
  bool reading() const { return reading_; }

 private:
  std::span<std::uint8_t> missing();
  void read_some(std::shared_ptr<void> alive);
  void advance(std::size_t bytes);

  Stream& stream_;
  Handlers handlers_;
  FrameBounds bounds_;
  FrameHeaderBytes raw_header_{};
  IncomingFrame frame_;
  std::size_t have_ = 0;  // bytes of this frame read so far
  bool reading_ = false;
};

}  // namespace quench::cluster
