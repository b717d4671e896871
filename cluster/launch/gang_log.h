// What a gang writes into the file `log` of its folder, line by line. How far it was read stands beside it, so that the
// coordinator that adopts the gang goes on there. Loop thread.
#pragma once

#include <filesystem>
#include <functional>
#include <ios>
#include <string>

namespace quench::cluster {

class GangLog {
 public:
  explicit GangLog(const std::filesystem::path& folder);
  const std::filesystem::path& file() const { return file_; }
  // The whole lines that were written since.
  void read(const std::function<void(const std::string& line)>& on_line);

 private:
  std::filesystem::path file_;
  std::filesystem::path mark_;
  std::streamoff read_ = 0;
};

}  // namespace quench::cluster
