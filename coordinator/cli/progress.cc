#include "coordinator/cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>

namespace quench::coordinator {
namespace {

constexpr int kBarCells = 24;
// Without a terminal, completions are told this often; blocks always.
constexpr std::chrono::seconds kLineEvery{5};

}  // namespace

std::string duration_text(double seconds) {
  const auto whole = static_cast<long long>(std::ceil(seconds));
  if (whole >= 3600) return fmt::format("{} h {:02} min", whole / 3600, whole % 3600 / 60);
  if (whole >= 60) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} s", whole);
}

TerminalProgress::TerminalProgress(const std::filesystem::path& log_file)
    : terminal_(::isatty(STDERR_FILENO) == 1) {
  if (!log_file.empty()) log_.emplace(log_file);
}

TerminalProgress::~TerminalProgress() { erase(); }

void TerminalProgress::erase() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

void TerminalProgress::draw() {
  if (!terminal_ || total_ == 0) return;
  const int filled = static_cast<int>(std::uint64_t{kBarCells} * done_ / total_);
  std::string text =
      fmt::format("{} [{}{}] {}/{}", what_, std::string(static_cast<std::size_t>(filled), '#'),
                  std::string(static_cast<std::size_t>(kBarCells - filled), '.'), done_, total_);
  const std::uint32_t worked = done_ - std::min(done_, done_at_start_);
  if (worked > 0 && done_ < total_) {
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - started_;
    text += "  ETA " + duration_text(spent.count() / worked * (total_ - done_));
  }
  if (!step_.empty() && done_ < total_) text += "  " + step_;
  erase();
  std::fprintf(stderr, "%.110s", text.c_str());
  drawn_ = true;
}

void TerminalProgress::line(const std::string& text) {
  erase();
  std::fprintf(stderr, "%s\n", text.c_str());
  detail(text);
  draw();
}

void TerminalProgress::progress(const std::string& what, std::uint32_t done, std::uint32_t total) {
  const auto now = std::chrono::steady_clock::now();
  if (what != what_) {
    what_ = what;
    started_ = now;
    done_at_start_ = done;
    last_line_ = {};
  }
  done_ = done;
  total_ = total;
  step_.clear();
  std::string text = fmt::format("{}: {} of {}", what, done, total);
  const std::uint32_t worked = done - std::min(done, done_at_start_);
  if (worked > 0 && done < total) {
    const std::chrono::duration<double> spent = now - started_;
    text += ", about " + duration_text(spent.count() / worked * (total - done)) + " left";
  }
  if (terminal_) {
    draw();
  } else if (done == total || now - last_line_ >= kLineEvery) {
    std::fprintf(stderr, "%s\n", text.c_str());
    last_line_ = now;
  }
  detail(text);
}

void TerminalProgress::step(const std::string& text) {
  step_ = text;
  draw();
}

void TerminalProgress::block(const std::string&, const BlockDone& done) {
  for (const LinearLoss& loss : done.losses) detail(loss_line(loss));
}

void TerminalProgress::detail(const std::string& text) {
  if (log_) log_->write(text);
}

}  // namespace quench::coordinator
