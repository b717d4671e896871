#include "coordinator/join_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "schemas/error.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

// Written beside and renamed: a worker that polls the folder reads the old file or the whole new one.
void write_private(const fs::path& file, const std::string& text) {
  const fs::path partial = file.string() + ".partial";
  ::unlink(partial.c_str());
  const int descriptor = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (descriptor < 0) throw errno_error(ErrorCode::failed, "cannot write " + partial.string(), errno);
  const ssize_t written = ::write(descriptor, text.data(), text.size());
  const int problem = errno;
  ::close(descriptor);
  if (written != static_cast<ssize_t>(text.size()))
    throw errno_error(ErrorCode::failed, "cannot write " + partial.string(), problem);
  if (::rename(partial.c_str(), file.c_str()) != 0)
    throw errno_error(ErrorCode::failed, "cannot write " + file.string(), errno);
}

}  // namespace

JoinFolder::JoinFolder(fs::path folder, const std::string& endpoint, const std::string& secret)
    : folder_(std::move(folder)) {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
  if (::mkdir(folder_.c_str(), 0700) != 0)
    throw errno_error(ErrorCode::failed, "cannot make " + folder_.string(), errno);
  write_private(folder_ / "endpoint", endpoint + "\n");
  // Last: whoever finds the secret finds the endpoint it belongs to.
  write_private(secret_file(), secret);
}

JoinFolder::~JoinFolder() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

}  // namespace quench::coordinator
