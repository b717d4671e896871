// HEAD: what the store has acknowledged. RocksDB may open, without a word, a catalog whose newest
// commits a damaged log or MANIFEST has lost; HEAD is how the store notices.
//
// The file has two slots of kHeadSlotBytes, written in turn and synced, so that a crash while one is
// written leaves the other. A slot, little-endian:
//   0   "QUENCHHD"            8    format        these 12 bytes keep their meaning in all formats
//   12  slot bytes            16   sequence (the slot with the greater one counts)
//   24  commit number         32   chain: SHA-256 over (chain before, number, contents of the commit)
//   64  MANIFEST of chunks: number, size, checksum      88  the same of catalog
//   112 zeros                 480  SHA-256 of bytes 0 to 480
#pragma once

#include <cstdint>
#include <filesystem>

#include "coordinator/store/disk.h"
#include "coordinator/store/manifest.h"
#include "schemas/digest.h"

namespace quench::coordinator {

inline constexpr std::size_t kHeadSlotBytes = 512;

struct HeadRecord {
  std::uint64_t sequence = 0;  // set by HeadFile
  std::uint64_t commit = 0;
  Digest chain;
  ManifestMark chunks;
  ManifestMark catalog;
};

// An open HEAD. One thread at a time.
class HeadFile {
 public:
  // Makes HEAD with `first` in both slots: readers see no HEAD or all of it. Throws Error(failed).
  static void create(const std::filesystem::path& path, const HeadRecord& first);
  // Reads both slots. `flags`: O_RDONLY or O_RDWR. Throws Error(bad_input) for a newer format,
  // Error(corrupt) when the size is wrong or neither slot has its checksum.
  HeadFile(const std::filesystem::path& path, int flags);

  const HeadRecord& newest() const { return newest_; }
  // Replaces the older slot and returns when it is on the disk. Throws Error(failed).
  void write(HeadRecord record);

 private:
  File file_;
  HeadRecord newest_;
};

}  // namespace quench::coordinator
