// Progress on stderr: a bar with an ETA on a terminal, plain lines elsewhere; everything also goes into
// the job's log file. Event-loop thread only.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "coordinator/job_log.h"
#include "coordinator/service.h"

namespace quench::coordinator {

class TerminalProgress final : public ProgressSink {
 public:
  // Appends to `log_file`; an empty path keeps no log. Throws Error(failed) when it cannot be opened.
  explicit TerminalProgress(const std::filesystem::path& log_file);
  ~TerminalProgress() override;

  void line(const std::string& text) override;
  void progress(const std::string& what, std::uint32_t done, std::uint32_t total) override;
  void step(const std::string& text) override;
  void block(const std::string& artifact, const BlockDone& done) override;
  void detail(const std::string& text) override;

 private:
  void draw();
  void erase();

  bool terminal_;
  std::optional<JobLog> log_;
  std::string what_;
  std::string step_;
  std::uint32_t done_ = 0;
  std::uint32_t total_ = 0;
  std::uint32_t done_at_start_ = 0;
  std::chrono::steady_clock::time_point started_;
  std::chrono::steady_clock::time_point last_line_;
  bool drawn_ = false;
};

// "1 h 05 min", "3 min 20 s", "12 s".
std::string duration_text(double seconds);

}  // namespace quench::coordinator
