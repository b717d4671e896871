#include "cluster/launch/gang_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "cluster/launch/gang_processes.h"
#include "cluster/launch/launcher.h"
#include "schemas/error.h"

namespace quench::cluster {
namespace {

namespace fs = std::filesystem;

constexpr int kLockTries = 50;

std::vector<fs::path> candidates() {
  std::vector<fs::path> folders = {"/dev/shm"};
  if (const char* const given = std::getenv("TMPDIR"); given != nullptr && *given != '\0')
    folders.emplace_back(given);
  folders.emplace_back("/tmp");
  return folders;
}

// Those that outlive their coordinator have a name of their own: a Quench that knows nothing of them would take them for dead.
std::string prefix(GangLife life = GangLife::ends_with_coordinator) {
  return (life == GangLife::outlives_it ? "quench-lasting-gang-" : "quench-gang-") + std::to_string(::geteuid()) + "-";
}

// Waits for its next coordinator. Of gangs on other hosts nobody here knows: who may adopt one takes its folder first.
bool goes_on(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / kMpirunFile, ignored) && !processes_marked(kGangVariable, folder.filename().string()).empty();
}

// The lock of a living coordinator cannot be had. Another user's folder cannot be opened or removed.
void remove_dead_gangs(const fs::path& parent, const std::function<void(const std::string&)>& on_dead = {}) {
  std::error_code ignored;
  std::vector<fs::path> dead;
  for (auto entry = fs::directory_iterator(parent, ignored); entry != fs::directory_iterator();
       entry.increment(ignored)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(prefix()) && !name.starts_with(prefix(GangLife::outlives_it))) continue;
    if (goes_on(entry->path())) continue;
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

bool GangFolder::make_in(const fs::path& parent, GangLife life, int& why) {
  std::string name = (parent / (prefix(life) + "XXXXXX")).string();
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

GangFolder::GangFolder(GangLife life) {
  int why = ENOENT;
  for (const fs::path& parent : candidates()) {
    remove_dead_gangs(parent);
    if (make_in(parent, life, why)) return;
  }
  throw errno_error(ErrorCode::failed, "cannot make a folder for the gang in /dev/shm, TMPDIR or /tmp", why);
}

GangFolder::GangFolder(const fs::path& parent, const std::function<void(const std::string&)>& on_dead) {
  std::error_code ignored;
  fs::create_directories(parent, ignored);
  remove_dead_gangs(parent, on_dead);
  int why = ENOENT;
  if (!make_in(parent, GangLife::ends_with_coordinator, why))
    throw errno_error(ErrorCode::failed, "cannot make a folder for the gang in " + parent.string(), why);
}

std::unique_ptr<GangFolder> GangFolder::take(const fs::path& folder) {
  const int lock = ::open((folder / "lock").c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (lock < 0) return nullptr;
  // Another coordinator that looks for dead gangs holds it for a moment.
  for (int tries = 0; ::flock(lock, LOCK_EX | LOCK_NB) != 0; ++tries) {
    if (tries == kLockTries) {
      ::close(lock);
      return nullptr;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return std::unique_ptr<GangFolder>(new GangFolder(folder, lock));
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

std::string GangFolder::read_secret() const {
  std::ifstream in(path_ / "secret", std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

}  // namespace quench::cluster
