#include "cluster/launch/gang_log.h"

#include <fstream>

namespace quench::cluster {

GangLog::GangLog(const std::filesystem::path& folder) : file_(folder / "log"), mark_(folder / "log.read") {
  std::ifstream(mark_) >> read_;
}

void GangLog::read(const std::function<void(const std::string& line)>& on_line) {
  std::ifstream in(file_, std::ios::binary);
  if (!in.seekg(read_)) return;
  const std::streamoff before = read_;
  std::string line;
  while (std::getline(in, line) && !in.eof()) {
    read_ += static_cast<std::streamoff>(line.size()) + 1;
    on_line(line);
  }
  // A mark that cannot be written costs lines that are told twice.
  if (read_ != before) std::ofstream(mark_, std::ios::trunc) << read_ << '\n';
}

}  // namespace quench::cluster
