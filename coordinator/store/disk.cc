#include "coordinator/store/disk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <utility>

#include "schemas/error.h"

namespace quench::coordinator {
namespace {

constexpr fsfilcnt_t kFewFiles = 100;

Error write_error(const std::filesystem::path& path, int errno_value) {
  if (is_full(errno_value)) return Error(ErrorCode::failed, disk_full_text(path));
  return errno_error(ErrorCode::failed, "cannot write " + path.string(), errno_value);
}

// The mount that holds `path`, as "device on directory"; empty where the kernel does not tell.
std::string mount_of(const std::filesystem::path& path) {
  std::error_code error;
  const std::string target = std::filesystem::weakly_canonical(path, error).string();
  std::ifstream mounts("/proc/self/mounts");
  std::string best_device, best_directory, line;
  while (std::getline(mounts, line)) {
    std::istringstream fields(line);
    std::string device, directory;
    fields >> device >> directory;
    const bool holds = directory == "/" || target == directory || target.starts_with(directory + "/");
    if (holds && directory.size() >= best_directory.size()) {
      best_device = device;
      best_directory = directory;
    }
  }
  return best_directory.empty() ? "" : best_device + " on " + best_directory;
}

}  // namespace

File::File(const std::filesystem::path& path, int flags, unsigned permissions)
    : path_(path), descriptor_(::open(path.c_str(), flags | O_CLOEXEC, permissions)) {
  if (descriptor_ >= 0) return;
  if (is_full(errno)) throw write_error(path, errno);
  throw errno_error(ErrorCode::failed, "cannot open " + path.string(), errno);
}

File::~File() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

File::File(File&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

std::uint64_t File::size_bytes() const {
  struct stat status;
  if (::fstat(descriptor_, &status) != 0)
    throw errno_error(ErrorCode::failed, "cannot examine " + path_.string(), errno);
  return static_cast<std::uint64_t>(status.st_size);
}

std::string File::read_at(std::uint64_t offset, std::size_t bytes) const {
  std::string data(bytes, '\0');
  std::size_t done = 0;
  while (done < bytes) {
    const ssize_t got =
        ::pread(descriptor_, data.data() + done, bytes - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw errno_error(ErrorCode::failed, "cannot read " + path_.string(), errno);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  data.resize(done);
  return data;
}

void File::write_at(std::uint64_t offset, std::string_view data) {
  while (!data.empty()) {
    const ssize_t put = ::pwrite(descriptor_, data.data(), data.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw write_error(path_, errno);
    offset += static_cast<std::uint64_t>(put);
    data.remove_prefix(static_cast<std::size_t>(put));
  }
}

void File::sync() {
  if (::fsync(descriptor_) != 0) throw write_error(path_, errno);
}

void sync_directory(const std::filesystem::path& directory) {
  File(directory, O_RDONLY | O_DIRECTORY).sync();
}

bool is_full(int errno_value) { return errno_value == ENOSPC || errno_value == EDQUOT; }

std::string disk_full_text(const std::filesystem::path& path) {
  std::ostringstream text;
  text << "the disk of " << path.string();
  const std::string mount = mount_of(path);
  if (!mount.empty()) text << " (" << mount << ")";
  text << " is full";
  struct statvfs disk;
  const std::filesystem::path parent = path.parent_path();
  if (::statvfs(path.c_str(), &disk) == 0 || ::statvfs(parent.c_str(), &disk) == 0) {
    const auto free_bytes = static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
    const auto total_bytes = static_cast<std::uint64_t>(disk.f_blocks) * disk.f_frsize;
    text << ": " << free_bytes / 1000000 << " of " << total_bytes / 1000000 << " MB are free";
    // A disk of many small files runs out of them first.
    if (disk.f_files > 0 && disk.f_favail < kFewFiles) text << ", and room for " << disk.f_favail << " files";
  }
  text << "; free some space (or raise the quota), then run the same command again";
  return text.str();
}

void probe_writable(const std::filesystem::path& directory, std::size_t bytes) {
  const std::filesystem::path path = directory / ".probe";
  try {
    File probe(path, O_WRONLY | O_CREAT | O_TRUNC);
    probe.write_at(0, std::string(bytes, '\x5a'));
    probe.sync();
  } catch (const Error&) {
    ::unlink(path.c_str());
    throw;
  }
  ::unlink(path.c_str());
}

}  // namespace quench::coordinator
