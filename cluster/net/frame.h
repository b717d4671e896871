// The frame of the wire (DESIGN.md section 5): a fixed header, a Cap'n Proto control message, an
// optional raw payload. Pure functions on bytes, so that hostile headers are tested without sockets.
// Any thread.
//
//   bytes  0..3   magic "QNCH"
//          4..5   version, little-endian like all that follows
//          6..7   zero
//          8..11  attempt number of the gang (0: no gang, a reader)
//         12..15  bytes of the control message, 1 … kMessageBytesMax
//         16..19  bytes of the payload, 0 … kPayloadBytesMax
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "cluster/net/limits.h"
#include "schemas/ids.h"

namespace quench::cluster {

inline constexpr std::uint16_t kFrameVersion = 1;

struct FrameHeader {
  AttemptNumber attempt;
  std::uint32_t control_bytes = 0;
  std::uint32_t payload_bytes = 0;
  bool operator==(const FrameHeader&) const = default;
};

// What a side accepts; narrower before the peer is known.
struct FrameBounds {
  std::size_t control_bytes_max = kMessageBytesMax;
  std::size_t payload_bytes_max = kPayloadBytesMax;
};

using FrameHeaderBytes = std::array<std::uint8_t, kFrameHeaderBytes>;

// Throws Error(internal) when a length exceeds its maximum: we never write what we would not read.
FrameHeaderBytes encode_header(const FrameHeader& header);
// Throws Error(corrupt) on another magic or length, Error(refused) on another version; names the field,
// its value and what was expected. `raw` must have exactly kFrameHeaderBytes.
FrameHeader parse_header(std::span<const std::uint8_t> raw, const FrameBounds& bounds = {});

// Whose work a frame belongs to, seen from attempt `ours` of a gang.
enum class FrameAge {
  stale,    // an attempt that is over: dropped
  current,
  newer,    // the receiver itself is left over
};
FrameAge age_of(const FrameHeader& header, AttemptNumber ours);

}  // namespace quench::cluster
