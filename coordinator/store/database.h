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
  // All puts, atomically. Throws Error(failed), after which every write fails until reopened.
  void write(std::span<const Put> puts);
  // Makes every completed write durable. Throws as write().
  void flush();
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
