#include "worker/evaluate/sandbox/desk.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "schemas/error.h"

namespace quench::worker {
namespace {

using Json = nlohmann::json;

// A verdict with its detail; the zygote's own bound on a status.
constexpr std::size_t kReplyBytesMax = 16 << 10;
// Each answer has its own limit, which the desk sets; this one only bounds the process as a whole.
constexpr std::uint32_t kDeskCpuMs = 3'600'000;

Json parse_reply(const std::string& text) {
  const Json reply = Json::parse(text, nullptr, false);
  if (!reply.is_object()) throw Error(ErrorCode::failed, "the tests' process sent a reply that is no object");
  return reply;
}

}  // namespace

Desk::Desk(Zygote& zygote, const SandboxLimits& limits, std::uint64_t id) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    throw errno_error(ErrorCode::failed, "socketpair for the tests' process", errno);
  }
  socket_ = OwnedFd(ends[0]);
  const OwnedFd theirs(ends[1]);
  Json request = run_request(id, "desk", limits, kDeskCpuMs);
  request["cpu_ms"] = kDeskCpuMs;
  zygote.send(request, theirs.get());
}

bool Desk::takes(const std::string& tests, SandboxClock::time_point deadline) {
  if (const auto found = known_.find(tests); found != known_.end()) return found->second.taken;
  const std::size_t number = known_.size();
  send_frame(socket_.get(), R"({"key":)" + std::to_string(number) + R"(,"tests":)" + tests + "}", -1, deadline);
  const Json reply = parse_reply(receive_frame(socket_.get(), kReplyBytesMax, deadline));
  const bool taken = reply.value("pure", Json()) == Json(true);
  known_.emplace(tests, Known{number, taken});
  return taken;
}

void Desk::examine(const std::string& tests, std::uint64_t id, const std::string& nonce, std::uint32_t cpu_ms,
                   int channel) {
  const Json request{{"key", known_.at(tests).number}, {"id", id}, {"nonce", nonce}, {"cpu_ms", cpu_ms}};
  send_frame(socket_.get(), request.dump(), channel);
}

void Desk::move_to(int core) { send_frame(socket_.get(), Json{{"core", core}}.dump(), -1); }

Report Desk::receive(std::uint64_t id, SandboxClock::time_point deadline) {
  Report report;
  report.status = receive_frame(socket_.get(), kReplyBytesMax, deadline);
  const Json reply = parse_reply(report.status);
  try {
    if (reply.at("id").get<std::uint64_t>() != id)
      throw Error(ErrorCode::failed, "the tests' process answered another request");
    report.exit_code = 0;
    report.cpu_ms = reply.at("cpu_ms").get<std::uint64_t>();
    report.wall_ms = reply.at("wall_ms").get<std::uint64_t>();
    const auto waited_ms = reply.at("waited_ms").get<std::uint64_t>();
    report.waited_ms = waited_ms - std::min(waited_ms, waited_ms_);
    waited_ms_ = std::max(waited_ms, waited_ms_);
    used_up_ = reply.at("last").get<bool>();
  } catch (const Json::exception&) {
    throw Error(ErrorCode::failed, "the tests' process sent a reply without its fields");
  }
  return report;
}

}  // namespace quench::worker
