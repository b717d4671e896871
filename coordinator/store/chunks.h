// The chunk database: bytes by their SHA-256. A chunk is durable once flush_for() has returned for it;
// until then it lives in RocksDB's memory, because its writes are not logged.
//
// Threads: everything but the constructor from any thread; puts run in parallel.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <span>

#include "coordinator/store/database.h"

namespace quench::coordinator {

class Chunks {
 public:
  // Throws as Database.
  Chunks(const std::filesystem::path& path, DatabaseAccess access, LogSink log);

  // `digest` must be that of `bytes`. Throws Error(failed).
  void put(const Digest& digest, std::span<const std::uint8_t> bytes);
  // Throws Error(corrupt) when the chunk is missing or its bytes are wrong.
  Bytes get(const Digest& digest) const;
  std::optional<std::uint64_t> size_bytes(const Digest& digest) const;
  // Flushes when one of `digests` may be in memory only. Throws Error(failed).
  void flush_for(std::span<const Digest> digests);
  // All digests, ascending, without reading the chunks, until `visit` returns false.
  void scan(const std::function<bool(const Digest&)>& visit) const;

 private:
  Database database_;
  // Held shared from before a put enters unflushed_ until it is written, and exclusively to take
  // unflushed_ over into a flush: a flush covers all of a put or the put stays listed.
  std::shared_mutex put_gate_;
  std::mutex unflushed_mutex_;
  std::set<Digest> unflushed_;
  std::mutex flush_mutex_;
};

}  // namespace quench::coordinator
