// Marks on RocksDB's MANIFEST, the file that says which data files make up a database. RocksDB takes a
// MANIFEST cut at its end for an older state, opens that, and deletes every data file it does not
// name. HEAD therefore keeps name, size and checksum of both databases' MANIFEST, and opening compares
// them before RocksDB may touch anything.
#pragma once

#include <cstdint>
#include <filesystem>

namespace quench::coordinator {

// The first `size_bytes` bytes of MANIFEST-`number`. The checksum (64-bit FNV-1a) is there to find
// damage, and grows with the file without reading it again.
struct ManifestMark {
  std::uint64_t number = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t checksum = 0;
  bool operator==(const ManifestMark&) const = default;
};

// Follows the MANIFEST of one open database. One thread at a time.
class ManifestWatch {
 public:
  explicit ManifestWatch(std::filesystem::path database);
  // Where the MANIFEST is now; reads only what was added since the last call, and syncs it, so that
  // no mark is ahead of the disk. Throws Error(failed), Error(corrupt).
  ManifestMark mark();

 private:
  std::filesystem::path database_;
  ManifestMark last_;
};

// Throws Error(corrupt) unless the MANIFEST that `database`/CURRENT names has everything up to `mark`,
// or is a later one. Changes nothing.
void check_manifest(const std::filesystem::path& database, const ManifestMark& mark);

}  // namespace quench::coordinator
