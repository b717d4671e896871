// The chunk database: bytes by their SHA-256. A chunk is durable once flush_for() has returned for it;
// until then it lives in RocksDB's memory, because its writes are not logged.
//
// Threads: everything but the constructor from any thread; puts run in parallel.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <span>

#include "coordinator/store/database.h"
#include "coordinator/store/open_publishes.h"

namespace quench::coordinator {

class Chunks {
 public:
  // Throws as Database.
  Chunks(const std::filesystem::path& path, DatabaseAccess access, LogSink log);

  // `digest` must be that of `bytes`; `publishes` learns of it. Throws Error(failed).
  void put(const Digest& digest, std::span<const std::uint8_t> bytes, OpenPublishes& publishes);
  // Counts on a chunk without bringing its bytes: true, and `publishes` learns of it, when it is there.
  bool claim(const Digest& digest, OpenPublishes& publishes);
  // Writes the chunk whether it is there or not, in place of a damaged one; durable when it returns. Throws
  // Error(failed).
  void replace(const Digest& digest, std::span<const std::uint8_t> bytes);
  // Removes those that no open publish holds, and returns how many bytes they had. Throws Error(failed).
  std::uint64_t remove(std::span<const Digest> digests, const OpenPublishes& publishes);
  // The bytes of all chunks; counted once and kept up to date from then on.
  std::uint64_t stored_bytes() const;
  // Gives the space of removed chunks back to the disk. Throws Error(failed).
  Database::BlobSpace space() const { return database_.blob_space(); }
  void compact(Database::Compaction how) { database_.compact(how); }
  // A copy of the database in the new directory `to`, with every chunk put so far. Throws Error(failed).
  void checkpoint(const std::filesystem::path& to) { database_.checkpoint(to); }
  // Throws Error(corrupt) when the chunk is missing or its bytes are wrong.
  Bytes get(const Digest& digest) const;
  std::optional<std::uint64_t> size_bytes(const Digest& digest) const;
  // Flushes when one of `digests` may be in memory only. Throws Error(failed).
  void flush_for(std::span<const Digest> digests);
  // All digests, ascending, without reading the chunks, until `visit` returns false. Sizes are as recorded,
  // unchecked.
  void scan(const std::function<bool(const Digest&)>& visit) const;
  void scan_sizes(const std::function<bool(const Digest&, std::uint64_t size_bytes)>& visit) const;

 private:
  void write(const Digest& digest, std::span<const std::uint8_t> bytes);

  Database database_;
  // Held shared from before a put looks for its chunk until it is written, and exclusively to take
  // unflushed_ over into a flush (a flush covers all of a put or the put stays listed) and to remove chunks
  // (a put sees a chunk that stays, or writes it).
  std::shared_mutex put_gate_;
  std::mutex unflushed_mutex_;
  std::set<Digest> unflushed_;
  std::mutex flush_mutex_;
  mutable std::mutex stored_mutex_;
  mutable std::optional<std::uint64_t> stored_bytes_;
};

}  // namespace quench::coordinator
