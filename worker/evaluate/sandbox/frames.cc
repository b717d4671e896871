#include "worker/evaluate/sandbox/frames.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstring>

#include "schemas/error.h"

namespace quench::worker {
namespace {

void wait_for(int socket, short event, SandboxClock::time_point deadline) {
  if (deadline == SandboxClock::time_point::max()) return;
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - SandboxClock::now()).count();
    if (left <= 0) throw Error(ErrorCode::timed_out, "the sandbox did not answer in time");
    pollfd entry{socket, event, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::min<long long>(left, INT_MAX)));
    if (ready > 0) return;
  }
}

void read_exactly(int socket, char* to, std::size_t count, SandboxClock::time_point deadline) {
  while (count > 0) {
    wait_for(socket, POLLIN, deadline);
    const ssize_t got = ::recv(socket, to, count, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw Error(ErrorCode::failed, "the sandbox ended");
    to += got;
    count -= static_cast<std::size_t>(got);
  }
}

}  // namespace

void send_frame(int socket, std::string_view text, int fd, SandboxClock::time_point deadline) {
  send_frame(socket, text, std::span<const int>(&fd, fd >= 0 ? 1 : 0), deadline);
}

void send_frame(int socket, std::string_view text, std::span<const int> fds, SandboxClock::time_point deadline) {
  QUENCH_CHECK(fds.size() <= kFrameDescriptorsMax, fds.size());
  std::string frame(4, '\0');
  const auto length = static_cast<std::uint32_t>(text.size());
  for (int i = 0; i < 4; ++i) frame[static_cast<std::size_t>(i)] = static_cast<char>(length >> (8 * i));
  frame += text;

  alignas(cmsghdr) std::array<char, CMSG_SPACE(kFrameDescriptorsMax * sizeof(int))> ancillary{};
  const int flags = MSG_NOSIGNAL | (deadline == SandboxClock::time_point::max() ? 0 : MSG_DONTWAIT);
  std::size_t sent = 0;
  while (sent < frame.size()) {
    wait_for(socket, POLLOUT, deadline);
    iovec part{frame.data() + sent, frame.size() - sent};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (sent == 0 && !fds.empty()) {
      header.msg_control = ancillary.data();
      header.msg_controllen = CMSG_SPACE(fds.size_bytes());
      cmsghdr* control = CMSG_FIRSTHDR(&header);
      control->cmsg_level = SOL_SOCKET;
      control->cmsg_type = SCM_RIGHTS;
      control->cmsg_len = CMSG_LEN(fds.size_bytes());
      std::memcpy(CMSG_DATA(control), fds.data(), fds.size_bytes());
    }
    const ssize_t count = ::sendmsg(socket, &header, flags);
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (count < 0) throw errno_error(ErrorCode::failed, "the sandbox takes no request", errno);
    sent += static_cast<std::size_t>(count);
  }
}

std::string receive_frame(int socket, std::size_t bytes_max, SandboxClock::time_point deadline) {
  std::array<char, 4> head{};
  read_exactly(socket, head.data(), head.size(), deadline);
  std::size_t length = 0;
  for (std::size_t i = 0; i < 4; ++i)
    length |= static_cast<std::size_t>(static_cast<std::uint8_t>(head[i])) << (8 * i);
  if (length > bytes_max) throw Error(ErrorCode::failed, "the sandbox sent a reply of impossible size");
  std::string text(length, '\0');
  read_exactly(socket, text.data(), length, deadline);
  return text;
}

}  // namespace quench::worker
