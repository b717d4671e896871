// A gang's own folder in shared memory: the secret file, Open MPI's session files and the segments its
// ranks share. One folder, so that nothing of a killed gang is left behind: what a dead coordinator left is
// found by its lock, which died with it.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace quench::cluster {

class GangFolder {
 public:
  // In /dev/shm where that can be written, else in TMPDIR, else in /tmp; mode 0700. Removes the folders
  // of gangs whose coordinator is dead. Throws Error(failed) when no folder can be made.
  GangFolder();
  // In `parent`, which the gang's hosts share. `on_dead` is told the name of each dead gang before its folder goes.
  explicit GangFolder(const std::filesystem::path& parent,
                      const std::function<void(const std::string& name)>& on_dead = {});
  ~GangFolder();  // removes it with all it holds
  GangFolder(const GangFolder&) = delete;
  GangFolder& operator=(const GangFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string name() const { return path_.filename().string(); }
  // Writes `text` to a new file of mode 0600 and returns its path.
  std::filesystem::path write_secret(const std::string& text) const;

 private:
  bool make_in(const std::filesystem::path& parent, int& why);

  std::filesystem::path path_;
  int lock_ = -1;
};

}  // namespace quench::cluster
