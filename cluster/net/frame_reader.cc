#include "cluster/net/frame_reader.h"

#include <boost/asio/buffer.hpp>
#include <utility>

namespace quench::cluster {
namespace asio = boost::asio;

void FrameReader::read(const FrameBounds& bounds, std::shared_ptr<void> alive) {
  QUENCH_CHECK(!reading_);
  bounds_ = bounds;
  frame_ = {};
  have_ = 0;
  reading_ = true;
  read_some(std::move(alive));
}

// The part of the frame that comes next; empty when it is whole.
std::span<std::uint8_t> FrameReader::missing() {
  std::size_t at = have_;
  for (const std::span<std::uint8_t> part :
       {std::span<std::uint8_t>(raw_header_), std::span(frame_.control), std::span(frame_.payload)}) {
    if (at < part.size()) return part.subspan(at);
    at -= part.size();
  }
  return {};
}

void FrameReader::read_some(std::shared_ptr<void> alive) {
  const std::span<std::uint8_t> next = missing();
  stream_.async_read_some(
      asio::buffer(next.data(), next.size()),
      [this, alive = std::move(alive)](const boost::system::error_code& error, std::size_t bytes) mutable {
        if (error) {
          reading_ = false;
          if (error == asio::error::operation_aborted) return;  // closed by us
          const bool ended = error == asio::error::eof || error == asio::error::connection_reset;
          return handlers_.on_failed(Error(
              ErrorCode::unreachable, ended ? (have_ == 0 ? "the peer closed the connection"
                                                          : "the peer closed the connection within a frame")
                                            : "reading from the peer: " + error.message()));
        }
        handlers_.on_bytes();
        if (have_ == 0) handlers_.on_first_byte();
        try {
          advance(bytes);
        } catch (const Error& failure) {
          reading_ = false;
          return handlers_.on_failed(failure);
        }
        if (!missing().empty()) return read_some(std::move(alive));
        reading_ = false;
        handlers_.on_frame(std::move(frame_));
      });
}

void FrameReader::advance(std::size_t bytes) {
  have_ += bytes;
  if (have_ != raw_header_.size()) return;
  frame_.header = parse_header(raw_header_, bounds_);
  frame_.control.resize(frame_.header.control_bytes);
  frame_.payload.resize(frame_.header.payload_bytes);
}

}  // namespace quench::cluster
