#include "cluster/launch/gang_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <system_error>
#include <utility>
#include <vector>

#include "schemas/error.h"

namespace quench::cluster {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> candidates() {
  std::vector<fs::path> folders = {"/dev/shm"};
  if (const char* const given = std::getenv("TMPDIR"); given != nullptr && *given != '\0')
    folders.emplace_back(given);
  folders.emplace_back("/tmp");
  return folders;
}

std::string prefix() { return "quench-gang-" + std::to_string(::geteuid()) + "-"; }

// The lock of a living coordinator cannot be had. Another user's folder cannot be opened or removed.
void remove_dead_gangs(const fs::path& parent, const std::function<void(const std::string&)>& on_dead = {}) {
  std::error_code ignored;
  std::vector<fs::path> dead;
  for (auto entry = fs::directory_iterator(parent, ignored); entry != fs::directory_iterator();
       entry.increment(ignored)) {
    if (!entry->path().filename().string().starts_with(prefix())) continue;
    const int lock = ::open((entry->path() / "lock").c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (lock < 0) continue;
    if (::flock(lock, LOCK_EX | LOCK_NB) == 0) dead.push_back(entry->path());
    ::close(lock);
  }
  for (const fs::path& folder : dead) {
    if (on_dead) on_dead(folder.filename().string());
    fs::remove_all(folder, ignored);
  }
}

}  // namespace

bool GangFolder::make_in(const fs::path& parent, int& why) {
  std::string name = (parent / (prefix() + "XXXXXX")).string();
  if (::mkdtemp(name.data()) == nullptr) {
    why = errno;
    return false;
  }
  path_ = name;
  // Made and locked under another name first: a lock file that is there unlocked means a dead gang.
  const fs::path unfinished = path_ / "lock.new";
  lock_ = ::open(unfinished.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (lock_ >= 0 && ::flock(lock_, LOCK_EX | LOCK_NB) == 0 &&
      ::rename(unfinished.c_str(), (path_ / "lock").c_str()) == 0)
    return true;
  why = errno;
  if (lock_ >= 0) ::close(lock_);
  std::error_code ignored;
  fs::remove_all(path_, ignored);
  return false;
}

GangFolder::GangFolder() {
  int why = ENOENT;
  for (const fs::path& parent : candidates()) {
    remove_dead_gangs(parent);
    if (make_in(parent, why)) return;
  }
  throw errno_error(ErrorCode::failed, "cannot make a folder for the gang in /dev/shm, TMPDIR or /tmp", why);
}

GangFolder::GangFolder(const fs::path& parent, const std::function<void(const std::string&)>& on_dead) {
  std::error_code ignored;
  fs::create_directories(parent, ignored);
  remove_dead_gangs(parent, on_dead);
  int why = ENOENT;
  if (!make_in(parent, why))
    throw errno_error(ErrorCode::failed, "cannot make a folder for the gang in " + parent.string(), why);
}

GangFolder::~GangFolder() {
  std::error_code ignored;  // a leftover is removed by the next gang
  fs::remove_all(path_, ignored);
  ::close(lock_);
}

fs::path GangFolder::write_secret(const std::string& text) const {
  const fs::path file = path_ / "secret";
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor < 0) throw errno_error(ErrorCode::failed, "cannot make " + file.string(), errno);
  const ssize_t written = ::write(descriptor, text.data(), text.size());
  const int why = errno;
  ::close(descriptor);
  if (written != static_cast<ssize_t>(text.size()))
    throw errno_error(ErrorCode::failed, "cannot write " + file.string(), why);
  return file;
}

}  // namespace quench::cluster
