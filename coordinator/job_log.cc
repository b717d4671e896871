#include "coordinator/job_log.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <cerrno>
#include <ctime>

#include "schemas/error.h"

namespace quench::coordinator {

JobLog::JobLog(const std::filesystem::path& file) {
  std::error_code ignored;
  std::filesystem::create_directories(file.parent_path(), ignored);
  out_.open(file, std::ios::app);
  if (!out_) throw errno_error(ErrorCode::failed, "cannot open the log " + file.string(), errno);
}

void JobLog::write(const std::string& text) {
  const std::time_t now = std::time(nullptr);
  out_ << fmt::format("{:%Y-%m-%dT%H:%M:%SZ} ", fmt::gmtime(now)) << text << "\n" << std::flush;
}

std::string loss_line(const LinearLoss& loss) {
  return loss.tensor + "  loss " + std::to_string(loss.loss) + "  relative " + std::to_string(loss.relative_loss);
}

}  // namespace quench::coordinator
