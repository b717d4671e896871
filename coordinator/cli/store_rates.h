// How fast the artifact store is on a disk: for `quench bench store` and for machine profiles.
#pragma once

#include <cstdint>
#include <filesystem>

namespace quench::coordinator {

// A new directory beside the store `store` (or the default store), so that the same disk is measured; removed with the
// object.
class BenchDirectory {
 public:
  explicit BenchDirectory(const std::filesystem::path& store);
  ~BenchDirectory();
  BenchDirectory(const BenchDirectory&) = delete;
  BenchDirectory& operator=(const BenchDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

struct StoreRates {
  double put_bytes_per_s = 0;   // chunks of 1 MiB hashed, stored and made durable by one commit
  double commit_s = 0;          // of a small commit, synced: the median
  double read_bytes_per_s = 0;  // digests checked
  double open_s = 0;            // of that store
};
StoreRates measure_store(const std::filesystem::path& directory, std::uint32_t mebibytes);

}  // namespace quench::coordinator
