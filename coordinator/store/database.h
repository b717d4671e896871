// One RocksDB database: the owner of its handle, the two option profiles the store needs, and the one
// place where RocksDB's statuses become quench::Error. RocksDB's headers stay behind database.cc.
//
// Threads: get, scan, last and write may be called from any thread at once; scan's iterator lives only
// inside the call, so none outlives the database.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coordinator/store/commit.h"
#include "coordinator/store/log_sink.h"

namespace quench::coordinator {

enum class DatabaseProfile {
  blobs,    // family 0 holds large values in blob files; writes are not logged: durable after flush()
  records,  // small values; every write is logged and synced
};
enum class DatabaseAccess { create, read_write, read_only };

class Database {
 public:
  struct Put {
    std::size_t family;  // an index into the families given when opening
    std::string_view key;
    std::string_view value;
  };

  struct Erase {
    std::size_t family;
    std::string_view key;
  };
  // What the blob files of family 0 take, and how much of that no key refers to any more.
  struct BlobSpace {
    std::uint64_t file_bytes = 0;
    std::uint64_t garbage_bytes = 0;
  };

  // Opens or, with `create`, makes the database at `path`. `families` names the column families;
  // the first is always RocksDB's "default". read_only changes nothing on the disk, and must not be
  // used while another process writes. Throws Error(corrupt), Error(failed).
  Database(const std::filesystem::path& path, DatabaseProfile profile, DatabaseAccess access,
           const std::vector<std::string>& families, LogSink log);
  // Flushes what the blobs profile still holds in memory, if the disk takes it, and closes.
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // Throws Error(corrupt) for damaged files, Error(failed) when the disk cannot be read.
  std::optional<Bytes> get(std::size_t family, std::string_view key) const;
  bool has(std::size_t family, std::string_view key) const;
  // All puts and erasures, atomically. Throws Error(failed), after which every write fails until reopened.
  void write(std::span<const Put> puts, std::span<const Erase> erasures = {});
  // Makes every completed write durable. Throws as write().
  void flush();
  BlobSpace blob_space() const;
  // Gives the space of erased entries back to the disk: blob files without a live value go; with `rewrite`,
  // those that have some left are written anew without the dead ones, which needs room for the live ones.
  // Throws as write().
  enum class Compaction { drop, rewrite };
  void compact(Compaction how);
  // A copy of the database as it is now in the new directory `to`: data files are hard links where the file
  // system has them. Throws Error(failed).
  void checkpoint(const std::filesystem::path& to);
  // Visits the entries whose keys start with `prefix`, ascending, until `visit` returns false. Views
  // live until `visit` returns.
  void scan(std::size_t family, std::string_view prefix,
            const std::function<bool(std::string_view key, std::string_view value)>& visit) const;
  // The entry with the greatest key that starts with `prefix`.
  std::optional<std::pair<std::string, std::string>> last(std::size_t family, std::string_view prefix) const;

 private:
  struct Handle;
  std::unique_ptr<Handle> handle_;
};

}  // namespace quench::coordinator
