#include "worker/evaluate/sandbox/zygote.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "schemas/error.h"

namespace quench::worker {
namespace {

// A reply holds at most 2 KiB of stderr and 16 KiB of status, six bytes for each when escaped.
constexpr std::size_t kReplyBytesMax = 1 << 20;
constexpr auto kStartDeadline = std::chrono::seconds(30);

std::string remedy_for(const std::string& errors) {
  const auto says = [&](const char* words) { return errors.find(words) != std::string::npos; };
  if (says("namespace") || says("uid map") || says("Operation not permitted")) {
    return "this host forbids unprivileged user namespaces: an administrator may allow them with sysctl "
           "user.max_user_namespaces=15000 (Debian and Ubuntu also kernel.unprivileged_userns_clone=1 or "
           "kernel.apparmor_restrict_unprivileged_userns=0; containers need a seccomp profile that allows "
           "them)";
  }
  if (says("proc")) return "a new /proc cannot be mounted here: containers need an unmasked /proc";
  return "run the same as another user or on another host, or ask your administrator";
}

}  // namespace

Zygote::Zygote(const SandboxHost& host, const SandboxLimits& limits)
    : process_(start_bubblewrap(host, limits)) {
  try {
    const nlohmann::json hello = receive(Clock::now() + kStartDeadline);
    python_version_ = hello.at("ready").get<std::string>();
  } catch (const std::exception&) {
    std::string errors = process_.errors();
    if (errors.empty()) errors = "it said nothing within 30 s";
    throw Error(ErrorCode::bad_input, "the sandbox does not start (" + errors + "); " + remedy_for(errors));
  }
}

void Zygote::send(const nlohmann::json& message, int fd) {
  std::string frame(4, '\0');
  // A model's completion need not be valid UTF-8; Python source must be.
  frame += message.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  const auto length = static_cast<std::uint32_t>(frame.size() - 4);
  for (int i = 0; i < 4; ++i) frame[static_cast<std::size_t>(i)] = static_cast<char>(length >> (8 * i));

  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> ancillary{};
  std::size_t sent = 0;
  while (sent < frame.size()) {
    iovec part{frame.data() + sent, frame.size() - sent};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (sent == 0 && fd >= 0) {
      header.msg_control = ancillary.data();
      header.msg_controllen = ancillary.size();
      cmsghdr* control = CMSG_FIRSTHDR(&header);
      control->cmsg_level = SOL_SOCKET;
      control->cmsg_type = SCM_RIGHTS;
      control->cmsg_len = CMSG_LEN(sizeof(int));
      std::memcpy(CMSG_DATA(control), &fd, sizeof fd);
    }
    const ssize_t count = ::sendmsg(process_.control(), &header, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw errno_error(ErrorCode::failed, "the sandbox takes no request", errno);
    sent += static_cast<std::size_t>(count);
  }
}

void Zygote::read_exactly(char* to, std::size_t count, Clock::time_point deadline) {
  while (count > 0) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) throw Error(ErrorCode::timed_out, "the sandbox did not answer in time");
    pollfd entry{process_.control(), POLLIN, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(left));
    if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
    const ssize_t got = ::recv(process_.control(), to, count, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) throw Error(ErrorCode::failed, "the sandbox ended");
    to += got;
    count -= static_cast<std::size_t>(got);
  }
}

nlohmann::json Zygote::receive(Clock::time_point deadline) {
  std::array<char, 4> head{};
  read_exactly(head.data(), head.size(), deadline);
  std::size_t length = 0;
  for (std::size_t i = 0; i < 4; ++i)
    length |= static_cast<std::size_t>(static_cast<std::uint8_t>(head[i])) << (8 * i);
  if (length > kReplyBytesMax) throw Error(ErrorCode::failed, "the sandbox sent a reply of impossible size");
  std::string text(length, '\0');
  read_exactly(text.data(), length, deadline);
  try {
    nlohmann::json message = nlohmann::json::parse(text);
    if (!message.is_object()) throw Error(ErrorCode::failed, "the sandbox sent a reply that is no object");
    return message;
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorCode::failed, "the sandbox sent a reply that is not JSON");
  }
}

}  // namespace quench::worker
