#include "coordinator/join_folder.h"

#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "cluster/launch/gang_script.h"
#include "schemas/error.h"

namespace quench::coordinator {

namespace fs = std::filesystem;

JoinFolder::JoinFolder(fs::path folder, const std::string& endpoint, const std::string& secret,
                       const std::string& certificate)
    : folder_(std::move(folder)) {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
  if (::mkdir(folder_.c_str(), 0700) != 0)
    throw errno_error(ErrorCode::failed, "cannot make " + folder_.string(), errno);
  cluster::write_private_file(folder_ / "endpoint", endpoint + "\n");
  if (!certificate.empty()) cluster::write_private_file(folder_ / cluster::kCertificateFile, certificate);
  // Last: whoever finds the secret finds the endpoint it belongs to.
  cluster::write_private_file(secret_file(), secret);
}

JoinFolder::~JoinFolder() {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

}  // namespace quench::coordinator
