#include "cluster/net/frame.h"

#include <string>

#include "schemas/error.h"

namespace quench::cluster {
namespace {

constexpr std::uint32_t kMagic = 0x48434e51;  // "QNCH"

void put(FrameHeaderBytes& raw, std::size_t at, std::uint32_t value) {
  for (std::size_t i = 0; i < 4; ++i) raw[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
}

std::uint32_t get(std::span<const std::uint8_t> raw, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value |= std::uint32_t{raw[at + i]} << (8 * i);
  return value;
}

Error length_error(ErrorCode code, const char* field, std::size_t value, std::size_t least,
                   std::size_t most) {
  return Error(code, std::string("frame header: ") + field + " is " + std::to_string(value) +
                         " bytes, expected " + std::to_string(least) + " to " + std::to_string(most));
}

}  // namespace

FrameHeaderBytes encode_header(const FrameHeader& header) {
  if (header.control_bytes == 0 || header.control_bytes > kMessageBytesMax)
    throw length_error(ErrorCode::internal, "the message", header.control_bytes, 1, kMessageBytesMax);
  if (header.payload_bytes > kPayloadBytesMax)
    throw length_error(ErrorCode::internal, "the payload", header.payload_bytes, 0, kPayloadBytesMax);
  FrameHeaderBytes raw{};
  put(raw, 0, kMagic);
  put(raw, 4, kFrameVersion);
  put(raw, 8, header.attempt.value);
  put(raw, 12, header.control_bytes);
  put(raw, 16, header.payload_bytes);
  return raw;
}

FrameHeader parse_header(std::span<const std::uint8_t> raw, const FrameBounds& bounds) {
  QUENCH_CHECK(raw.size() == kFrameHeaderBytes, raw.size());
  if (get(raw, 0) != kMagic)
    throw Error(ErrorCode::corrupt,
                "frame header: it does not begin with QNCH; the other side does not speak Quench's protocol");
  const std::uint32_t version = get(raw, 4);
  if (version != kFrameVersion)
    throw Error(ErrorCode::refused, "frame header: protocol version " + std::to_string(version) +
                                        ", expected " + std::to_string(kFrameVersion) +
                                        "; run the same Quench on both sides");
  const FrameHeader header{{get(raw, 8)}, get(raw, 12), get(raw, 16)};
  if (header.control_bytes == 0 || header.control_bytes > bounds.control_bytes_max)
    throw length_error(ErrorCode::corrupt, "the message", header.control_bytes, 1, bounds.control_bytes_max);
  if (header.payload_bytes > bounds.payload_bytes_max)
    throw length_error(ErrorCode::corrupt, "the payload", header.payload_bytes, 0, bounds.payload_bytes_max);
  return header;
}

FrameAge age_of(const FrameHeader& header, AttemptNumber ours) {
  if (header.attempt < ours) return FrameAge::stale;
  return header.attempt > ours ? FrameAge::newer : FrameAge::current;
}

}  // namespace quench::cluster
