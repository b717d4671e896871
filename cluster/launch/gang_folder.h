// A gang's own folder in shared memory: the secret file, Open MPI's session files and the segments its
// ranks share. One folder, so that nothing of a killed gang is left behind: what a dead coordinator left is
// found by its lock, which died with it, unless it holds a gang that goes on without.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>

namespace quench::cluster {

// In the folder of a gang that outlives its coordinator: who its mpirun is, and where its coordinator listens now.
inline constexpr char kMpirunFile[] = "mpirun";
inline constexpr char kEndpointFile[] = "endpoint";
// Beside any gang's secret: by what its ranks know an encrypted coordinator.
inline constexpr char kCertificateFile[] = "certificate";

enum class GangLife { ends_with_coordinator, outlives_it };

class GangFolder {
 public:
  // In /dev/shm where that can be written, else in TMPDIR, else in /tmp; mode 0700. Removes the folders
  // of gangs whose coordinator is dead. Throws Error(failed) when no folder can be made.
  explicit GangFolder(GangLife life = GangLife::ends_with_coordinator);
  // In `parent`, which the gang's hosts share. `on_dead` is told the name of each dead gang before its folder goes.
  explicit GangFolder(const std::filesystem::path& parent,
                      const std::function<void(const std::string& name)>& on_dead = {});
  // Of a gang that a dead coordinator left. Null when it is gone, or another coordinator's.
  static std::unique_ptr<GangFolder> take(const std::filesystem::path& folder);
  ~GangFolder();  // removes it with all it holds
  GangFolder(const GangFolder&) = delete;
  GangFolder& operator=(const GangFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string name() const { return path_.filename().string(); }
  // Writes `text` to a new file of mode 0600 and returns its path.
  std::filesystem::path write_secret(const std::string& text) const;
  // Empty when there is none.
  std::string read_secret() const;

 private:
  GangFolder(std::filesystem::path path, int lock) : path_(std::move(path)), lock_(lock) {}
  bool make_in(const std::filesystem::path& parent, GangLife life, int& why);

  std::filesystem::path path_;
  int lock_ = -1;
};

}  // namespace quench::cluster
