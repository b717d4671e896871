// Frames on a sandbox's control socket: a length of four bytes, least significant first, then that many bytes.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace quench::worker {

using SandboxClock = std::chrono::steady_clock;

// Descriptors that one frame can carry.
constexpr std::size_t kFrameDescriptorsMax = 4;

// Sends one frame with descriptors. Throws as the next one.
void send_frame(int socket, std::string_view text, std::span<const int> fds,
                SandboxClock::time_point deadline = SandboxClock::time_point::max());
// Sends one frame, with a descriptor when `fd` is not negative. Throws Error(failed) when the other end is gone,
// and Error(timed_out) when it takes nothing until the deadline.
void send_frame(int socket, std::string_view text, int fd = -1,
                SandboxClock::time_point deadline = SandboxClock::time_point::max());

// The next frame. Throws Error(failed) when the other end is gone or says a longer frame than `bytes_max`, and
// Error(timed_out) past the deadline.
std::string receive_frame(int socket, std::size_t bytes_max, SandboxClock::time_point deadline);

}  // namespace quench::worker
