// One owner per store directory: an flock on LOCK, which the kernel releases however the owner ends.
#pragma once

#include <filesystem>

#include "coordinator/store/disk.h"

namespace quench::coordinator {

class StoreLock {
 public:
  // Takes the lock of the store in `directory` and writes this process's id and host into the file, or
  // throws Error(bad_input) naming the process that has it, and its socket. A LOCK that may only be
  // read (read-only media) is locked all the same, without the writing.
  explicit StoreLock(const std::filesystem::path& directory);

 private:
  File file_;
};

}  // namespace quench::coordinator
