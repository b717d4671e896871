// Every limit of the control plane, with the sum that gives it. What a peer can make us hold is
// bounded by these numbers alone.
#pragma once

#include <cstddef>
#include <cstdint>

#include "schemas/codec.h"

namespace quench::cluster {

// A chunk of the store (DESIGN.md section 4), which travels as one payload.
inline constexpr std::size_t kPayloadBytesMax = 16 << 20;
inline constexpr std::size_t kFrameHeaderBytes = 20;
// One whole frame: 20 B + 8 MiB + 16 MiB, about 24 MiB.
inline constexpr std::size_t kFrameBytesMax = kFrameHeaderBytes + kMessageBytesMax + kPayloadBytesMax;

// From the first byte of a frame to its last, either way. The largest frame at 1 MB/s, the slowest
// link worth having, takes 25 s.
inline constexpr std::uint32_t kFrameMsMax = 30'000;

// Above this a connection stops reading (a peer that asks faster than it takes answers waits), and
// send_from_thread waits: two largest frames, one being written and one ready behind it, 48 MiB.
inline constexpr std::size_t kSendQueueBytesPause = 2 * kFrameBytesMax;
// Above this the peer is not reading at all and the connection closes: what may be queued when reading
// stops, the answer to the last message read, and as much again for orders sent unasked, 96 MiB.
inline constexpr std::size_t kSendQueueBytesMax = 4 * kFrameBytesMax;
// Small messages have a cost beyond their bytes: 4,096 × (512 B of bookkeeping) is 2 MiB.
inline constexpr std::size_t kSendQueueFramesMax = 4096;

// From accepting to Welcome: three small messages, two ways; 10 s covers a node on which every core is
// taken several times over.
inline constexpr std::uint32_t kHandshakeMsMax = 10'000;
// Heartbeats after it. A dead process is noticed by its closed socket at once; silence is for lost hosts.
// The coordinator's loop may be in a synced commit meanwhile, which a busy disk can stretch to seconds.
inline constexpr std::uint32_t kHeartbeatMs = 1'000;
inline constexpr std::uint32_t kSilenceMsMax = 8'000;
// Before its peer is known, a connection may send one Hello: build, host and isa (each bounded below)
// and the fixed fields fit 64 KiB, so a stranger cannot make us hold megabytes.
inline constexpr std::size_t kHandshakeBytesMax = 64 << 10;
inline constexpr std::size_t kHelloTextBytesMax = 1024;
inline constexpr std::size_t kNonceBytes = 32;
// Ranks of a gang; what a job may ask for.
inline constexpr std::uint32_t kWorldMax = 4096;
// Connections in handshake at once: a gang of 1,024 ranks may dial in the same second; 1,024 × 64 KiB is
// 64 MiB.
inline constexpr std::size_t kHandshakesMax = 1024;
inline constexpr int kListenBacklog = 1024;

}  // namespace quench::cluster
