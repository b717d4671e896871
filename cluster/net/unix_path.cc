#include "cluster/net/unix_path.h"

#include <fcntl.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>

#include "schemas/error.h"

namespace quench::cluster {
namespace {

// "/proc/self/fd/2147483647/" and a temporary suffix leave 107 - 25 - 2.
constexpr std::size_t kNameBytesMax = 80;

}  // namespace

UnixPath::UnixPath(const std::filesystem::path& path)
    : path_(std::filesystem::absolute(path)), name_(path_.filename().string()) {
  if (name_.empty() || name_.size() > kNameBytesMax)
    throw Error(ErrorCode::bad_input, "socket " + path_.string() + ": the file's name must have 1 to " +
                                          std::to_string(kNameBytesMax) + " bytes");
  folder_ = ::open(path_.parent_path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (folder_ < 0)
    throw errno_error(ErrorCode::unreachable, "cannot open the folder of socket " + path_.string(), errno);
}

UnixPath::~UnixPath() { ::close(folder_); }

std::string UnixPath::address(const std::string& file_name) const {
  const std::string direct = (path_.parent_path() / file_name).string();
  if (direct.size() < sizeof(sockaddr_un{}.sun_path)) return direct;
  return "/proc/self/fd/" + std::to_string(folder_) + "/" + file_name;
}

}  // namespace quench::cluster
