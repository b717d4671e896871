#include "coordinator/store/store_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include "schemas/error.h"

namespace quench::coordinator {
namespace {

constexpr std::size_t kHolderBytesMax = 512;

std::string this_process() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host = {'?'};
  return std::to_string(::getpid()) + " on " + host.data();
}

bool may_write(const std::filesystem::path& path) {
  return ::access(path.c_str(), W_OK) == 0 || errno == ENOENT;
}

int open_flags(const std::filesystem::path& path) { return may_write(path) ? O_RDWR | O_CREAT : O_RDONLY; }

}  // namespace

StoreLock::StoreLock(const std::filesystem::path& directory)
    : file_(directory / "LOCK", open_flags(directory / "LOCK")) {
  if (::flock(file_.descriptor(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK)
      throw errno_error(ErrorCode::failed, "cannot lock " + file_.path().string(), errno);
    std::string holder = file_.read_at(0, kHolderBytesMax);
    holder = holder.substr(0, holder.find('\n'));
    throw Error(ErrorCode::bad_input, "the store " + directory.string() + " is in use by process " +
                                          (holder.empty() ? "unknown" : holder) + ": use its socket " +
                                          (directory / "quench.sock").string() + ", or wait until it ends");
  }
  if (!may_write(file_.path())) return;
  // Overwritten before it is cut, so that a full disk does not stand in the way of reading the store.
  const std::string line = this_process() + "\n";
  file_.write_at(0, line);
  if (::ftruncate(file_.descriptor(), static_cast<off_t>(line.size())) != 0)
    throw errno_error(ErrorCode::failed, "cannot write " + file_.path().string(), errno);
}

}  // namespace quench::coordinator
