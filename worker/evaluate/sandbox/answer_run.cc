#include "worker/evaluate/sandbox/answer_run.h"

#include <fcntl.h>

#include <cerrno>
#include <string_view>

#include "schemas/error.h"

namespace quench::worker {
namespace {

constexpr std::size_t kTailBytes = 2048;
constexpr std::size_t kBlockBytes = 64 << 10;

struct Pipe {
  OwnedFd read, write;
};

// Only our end does not block; an answer's writes wait like any program's.
Pipe output_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw errno_error(ErrorCode::failed, "pipe for a program", errno);
  Pipe pipe{OwnedFd(ends[0]), OwnedFd(ends[1])};
  if (::fcntl(pipe.read.get(), F_SETFL, O_NONBLOCK) != 0)
    throw errno_error(ErrorCode::failed, "pipe for a program", errno);
  return pipe;
}

// What quick_loop.c reads.
std::string frame(char mark, std::uint64_t id, std::string_view text) {
  std::string bytes(1, mark);
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(id >> (8 * i));
  return bytes.append(text);
}

}  // namespace

AnswerRun::AnswerRun(Zygote& zygote, const SandboxLimits& limits, std::uint64_t id, const std::string& source,
                     std::uint32_t wall_ms, int channel)
    : zygote_(zygote), id_(id), output_bytes_max_(limits.output_bytes) {
  Pipe out = output_pipe(), error = output_pipe();
  const std::array descriptors{channel, out.write.get(), error.write.get()};
  zygote.send_text(frame('A', id, source), descriptors);
  wall_deadline_ = SandboxClock::now() + std::chrono::milliseconds(wall_ms);
  out_ = std::move(out.read);
  error_ = std::move(error.read);
}

std::array<pollfd, 3> AnswerRun::entries() const {
  return {{{report_ ? -1 : zygote_.control(), POLLIN, 0}, {out_.get(), POLLIN, 0}, {error_.get(), POLLIN, 0}}};
}

bool AnswerRun::read_output(OwnedFd& pipe, std::string* tail) {
  if (pipe.get() < 0) return false;
  std::array<char, kBlockBytes> block;
  const ssize_t count = ::read(pipe.get(), block.data(), block.size());
  if (count < 0) return errno == EINTR;
  if (count == 0) {
    pipe.reset();
    return false;
  }
  output_bytes_ += static_cast<std::uint64_t>(count);
  if (tail != nullptr) {
    tail->append(block.data(), static_cast<std::size_t>(count));
    if (tail->size() > kTailBytes) tail->erase(0, tail->size() - kTailBytes);
  }
  return true;
}

void AnswerRun::stop(const char* reason) {
  if (report_ || !reason_.empty()) return;
  reason_ = reason;
  zygote_.send_text(frame('S', id_, reason_), {});
}

void AnswerRun::look(SandboxClock::time_point broken_at) {
  if (report_) return;
  read_output(out_, nullptr);
  read_output(error_, &tail_);
  if (output_bytes_ > output_bytes_max_) stop("output_limit");
  if (SandboxClock::now() >= wall_deadline_) stop("timed_out");
  pollfd control{zygote_.control(), POLLIN, 0};
  if (::poll(&control, 1, 0) != 1) return;
  report_ = parse_report(zygote_.receive(broken_at), id_);
  finish();
}

// All processes are gone, and with them the writing ends.
void AnswerRun::finish() {
  while (output_bytes_ <= output_bytes_max_ && read_output(out_, nullptr)) {
  }
  while (output_bytes_ <= output_bytes_max_ && read_output(error_, &tail_)) {
  }
  if (output_bytes_ > output_bytes_max_) report_->reason = "output_limit";
  report_->stderr_tail = std::move(tail_);
  out_.reset();
  error_.reset();
}

}  // namespace quench::worker
