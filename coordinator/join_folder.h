// STORE/join: what an evaluation worker needs to join a running job, for workers that see the store's file
// system (`quench-worker evaluate --join STORE/join`) and for people to copy to those that do not. Any thread.
#pragma once

#include <filesystem>
#include <string>

namespace quench::coordinator {

class JoinFolder {
 public:
  // Writes `secret` (mode 0600) and `endpoint` into `folder` (mode 0700), replacing what an earlier run
  // left. Throws Error(failed) when they cannot be written.
  // `certificate` (PEM) goes there too where the endpoint is encrypted.
  JoinFolder(std::filesystem::path folder, const std::string& endpoint, const std::string& secret,
             const std::string& certificate);
  ~JoinFolder();  // removes it
  JoinFolder(const JoinFolder&) = delete;
  JoinFolder& operator=(const JoinFolder&) = delete;

  const std::filesystem::path& path() const { return folder_; }
  std::filesystem::path secret_file() const { return folder_ / "secret"; }

 private:
  std::filesystem::path folder_;
};

}  // namespace quench::coordinator
