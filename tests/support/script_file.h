// A program of a few lines of shell, in place of one that Quench starts.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>

namespace quench {

// Removed with the object, and with it whatever `script` wrote to "$0.ready".
class ScriptFile {
 public:
  explicit ScriptFile(std::string_view script) {
    std::string name = (std::filesystem::temp_directory_path() / "quench-script-XXXXXX").string();
    const int file = ::mkstemp(name.data());
    path_ = name;
    const bool is_written = file >= 0 && ::write(file, script.data(), script.size()) == static_cast<ssize_t>(script.size()) &&
                            ::fchmod(file, 0755) == 0;
    if (file >= 0) ::close(file);
    if (!is_written) throw std::runtime_error("cannot write " + name);
  }
  ~ScriptFile() {
    std::filesystem::remove(path_);
    std::filesystem::remove(ready());
  }
  ScriptFile(const ScriptFile&) = delete;
  ScriptFile& operator=(const ScriptFile&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path ready() const { return path_.string() + ".ready"; }

 private:
  std::filesystem::path path_;
};

}  // namespace quench
