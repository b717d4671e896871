// A socket file whose path may be longer than the kernel's sun_path (107 bytes): the folder is opened
// and the socket named through /proc/self/fd. Scratch paths of clusters are often that long.
#pragma once

#include <filesystem>
#include <string>

namespace quench::cluster {

class UnixPath {
 public:
  // Opens the folder. Throws Error(unreachable) when it does not exist, Error(bad_input) when the file's
  // own name is too long (above 80 bytes).
  explicit UnixPath(const std::filesystem::path& path);
  ~UnixPath();
  UnixPath(const UnixPath&) = delete;
  UnixPath& operator=(const UnixPath&) = delete;

  int folder() const { return folder_; }  // for the *at calls
  const std::string& name() const { return name_; }
  // What to bind or connect to; valid while this object lives.
  std::string address(const std::string& file_name) const;
  std::string address() const { return address(name_); }

 private:
  std::filesystem::path path_;
  std::string name_;
  int folder_ = -1;
};

}  // namespace quench::cluster
