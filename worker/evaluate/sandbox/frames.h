// Frames on a sandbox's control socket: a length of four bytes, least significant first, then that many
// bytes.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

namespace quench::worker {

using SandboxClock = std::chrono::steady_clock;

// Sends one frame, with a descriptor when `fd` is not negative. Throws Error(failed) when the other end is
// gone, and Error(timed_out) when it takes nothing until the deadline.
void send_frame(int socket, std::string_view text, int fd = -1,
                SandboxClock::time_point deadline = SandboxClock::time_point::max());

// The next frame. Throws Error(failed) when the other end is gone or says a longer frame than `bytes_max`,
// and Error(timed_out) past the deadline.
std::string receive_frame(int socket, std::size_t bytes_max, SandboxClock::time_point deadline);

}  // namespace quench::worker
