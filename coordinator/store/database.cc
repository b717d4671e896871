#include "coordinator/store/database.h"

#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/slice.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/write_batch.h>

#include <cerrno>
#include <cstring>

#include "coordinator/store/database_log.h"
#include "coordinator/store/disk.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

// Chunks collect in memory up to this size before RocksDB writes them as one blob file; with
// kWriteBuffersMax of them this bounds the memory of a publish.
constexpr std::size_t kBlobWriteBufferBytes = 64u << 20;
constexpr std::size_t kRecordWriteBufferBytes = 16u << 20;
constexpr int kWriteBuffersMax = 3;
constexpr std::uint64_t kBlobFileBytes = 256u << 20;
// A bound on the logs that reopening has to replay.
constexpr std::uint64_t kLogBytesMax = 32u << 20;
constexpr int kOpenFilesMax = 512;

rocksdb::Slice slice(std::string_view text) { return {text.data(), text.size()}; }
std::string_view view(const rocksdb::Slice& text) { return {text.data(), text.size()}; }

// The fence: every failure of RocksDB leaves the store's database as one of these.
void check(const rocksdb::Status& status, const std::filesystem::path& path, const char* action) {
  if (status.ok()) return;
  const std::string where = std::string("cannot ") + action + " " + path.string() + ": ";
  // A user's quota of the disk has no status of its own.
  if (status.IsNoSpace() || status.ToString().find(std::strerror(EDQUOT)) != std::string::npos)
    throw Error(ErrorCode::failed, where + disk_full_text(path));
  // A file that the MANIFEST names and the directory lacks is lost data, not a failing disk.
  if (status.IsCorruption() || status.IsPathNotFound() || status.IsInvalidArgument() || status.IsNotFound())
    throw Error(ErrorCode::corrupt,
                where + "the database is damaged (" + status.ToString() + "); restore the store from a copy");
  throw Error(ErrorCode::failed, where + status.ToString());
}

rocksdb::DBOptions database_options(DatabaseProfile profile, DatabaseAccess access, LogSink log) {
  rocksdb::DBOptions options;
  options.create_if_missing = access == DatabaseAccess::create;
  options.create_missing_column_families = access == DatabaseAccess::create;
  options.error_if_exists = access == DatabaseAccess::create;
  options.info_log = make_database_log(std::move(log));
  // One flush for all families: a record may not survive a damaged log that its commit number,
  // which HEAD checks, does not survive.
  options.atomic_flush = true;
  // Replays up to the first torn record; whether that lost anything acknowledged is HEAD's to say.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  options.max_total_wal_size = kLogBytesMax;
  options.max_open_files = kOpenFilesMax;
  options.max_bgerror_resume_count = 0;  // a store that failed to write stays read-only until reopened
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  // A quarter of them are flushes. Two at once: RocksDB's checksum of a blob costs as much as the SHA-256 did, and one thread
  // that does it and waits for the disk holds up whoever publishes.
  options.max_background_jobs = profile == DatabaseProfile::blobs ? 8 : 2;
  return options;
}

rocksdb::ColumnFamilyOptions family_options(DatabaseProfile profile, std::size_t family) {
  rocksdb::ColumnFamilyOptions options;
  const bool blobs = profile == DatabaseProfile::blobs && family == 0;
  options.write_buffer_size =
      profile == DatabaseProfile::blobs ? kBlobWriteBufferBytes : kRecordWriteBufferBytes;
  options.max_write_buffer_number = kWriteBuffersMax;
  options.compression = rocksdb::kNoCompression;  // digests and quantized weights do not compress
  options.enable_blob_files = blobs;
  options.min_blob_size = 0;
  options.blob_file_size = kBlobFileBytes;
  options.blob_compression_type = rocksdb::kNoCompression;
  rocksdb::BlockBasedTableOptions table;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

}  // namespace

struct Database::Handle {
  std::filesystem::path path;
  DatabaseProfile profile;
  std::unique_ptr<rocksdb::DB> database;
  std::vector<rocksdb::ColumnFamilyHandle*> families;  // owned; destroyed before the database

  ~Handle() {
    for (rocksdb::ColumnFamilyHandle* family : families)
      database->DestroyColumnFamilyHandle(family).PermitUncheckedError();
    // What a full disk keeps from being flushed here was never committed.
    database->Close().PermitUncheckedError();
  }

  std::unique_ptr<rocksdb::Iterator> iterate(std::size_t family) const {
    rocksdb::ReadOptions options;
    options.fill_cache = false;
    return std::unique_ptr<rocksdb::Iterator>(database->NewIterator(options, families.at(family)));
  }

  // Whether the block of a table that says where a blob is was read, and checked, before. Whoever reads a blob checks its
  // SHA-256, and RocksDB's own sum would be a second pass over the bytes: half of the speed. But the same option guards the
  // table, and a changed bit there ended the process in an assertion of RocksDB's. Were its words to change, each blob would be
  // checked twice.
  bool place_is_in_memory(std::size_t family, std::string_view key) const {
    rocksdb::ReadOptions options;
    options.read_tier = rocksdb::kBlockCacheTier;
    rocksdb::PinnableSlice value;
    const rocksdb::Status status = database->Get(options, families.at(family), slice(key), &value);
    return status.ok() || (status.IsIncomplete() && status.ToString().find("blob") != std::string::npos);
  }
};

Database::Database(const std::filesystem::path& path, DatabaseProfile profile, DatabaseAccess access,
                   const std::vector<std::string>& families, LogSink log) {
  const rocksdb::DBOptions options = database_options(profile, access, std::move(log));
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (std::size_t i = 0; i < families.size(); ++i)
    descriptors.emplace_back(i == 0 ? rocksdb::kDefaultColumnFamilyName : families[i],
                             family_options(profile, i));
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* database = nullptr;
  const rocksdb::Status status =
      access == DatabaseAccess::read_only
          ? rocksdb::DB::OpenForReadOnly(options, path.string(), descriptors, &handles, &database)
          : rocksdb::DB::Open(options, path.string(), descriptors, &handles, &database);
  check(status, path, "open");
  handle_.reset(new Handle{path, profile, std::unique_ptr<rocksdb::DB>(database), std::move(handles)});
}

Database::~Database() = default;

std::optional<Bytes> Database::get(std::size_t family, std::string_view key) const {
  rocksdb::PinnableSlice value;
  rocksdb::ReadOptions options;
  const bool is_blob = handle_->profile == DatabaseProfile::blobs && family == 0;
  options.verify_checksums = !is_blob || !handle_->place_is_in_memory(family, key);
  rocksdb::Status status = handle_->database->Get(options, handle_->families.at(family), slice(key), &value);
  // Damage of what RocksDB keeps beside the blob's bytes, if of anything: the SHA-256 says, whichever blob of a block is first.
  if (is_blob && status.IsCorruption() && options.verify_checksums && handle_->place_is_in_memory(family, key)) {
    options.verify_checksums = false;
    value.Reset();
    status = handle_->database->Get(options, handle_->families.at(family), slice(key), &value);
  }
  if (status.IsNotFound()) return std::nullopt;
  check(status, handle_->path, "read");
  const std::span<const std::uint8_t> bytes = as_bytes(view(value));
  return Bytes(bytes.begin(), bytes.end());
}

bool Database::has(std::size_t family, std::string_view key) const {
  rocksdb::PinnableSlice value;
  const rocksdb::Status status =
      handle_->database->Get(rocksdb::ReadOptions(), handle_->families.at(family), slice(key), &value);
  if (status.IsNotFound()) return false;
  check(status, handle_->path, "read");
  return true;
}

void Database::write(std::span<const Put> puts, std::span<const Erase> erasures) {
  std::size_t bytes = 64;
  for (const Put& put : puts) bytes += put.key.size() + put.value.size() + 16;
  for (const Erase& erase : erasures) bytes += erase.key.size() + 16;
  rocksdb::WriteBatch batch(bytes);
  for (const Erase& erase : erasures)
    check(batch.Delete(handle_->families.at(erase.family), slice(erase.key)), handle_->path, "write");
  for (const Put& put : puts)
    check(batch.Put(handle_->families.at(put.family), slice(put.key), slice(put.value)), handle_->path,
          "write");
  rocksdb::WriteOptions options;
  options.disableWAL = handle_->profile == DatabaseProfile::blobs;
  options.sync = !options.disableWAL;
  check(handle_->database->Write(options, &batch), handle_->path, "write");
}

void Database::flush() {
  rocksdb::FlushOptions options;
  options.wait = true;
  check(handle_->database->Flush(options, handle_->families), handle_->path, "write");
}

Database::BlobSpace Database::blob_space() const {
  BlobSpace space;
  // Versions that an open iterator still holds count in "total", not in "live".
  handle_->database->GetIntProperty(handle_->families.front(), "rocksdb.live-blob-file-size", &space.file_bytes);
  handle_->database->GetIntProperty(handle_->families.front(), "rocksdb.live-blob-file-garbage-size",
                                    &space.garbage_bytes);
  return space;
}

void Database::compact(Compaction how) {
  flush();
  for (std::size_t family = 0; family < handle_->families.size(); ++family) {
    rocksdb::CompactRangeOptions options;
    options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
    options.blob_garbage_collection_policy = how == Compaction::rewrite && family == 0
                                                 ? rocksdb::BlobGarbageCollectionPolicy::kForce
                                                 : rocksdb::BlobGarbageCollectionPolicy::kDisable;
    options.blob_garbage_collection_age_cutoff = 1.0;
    check(handle_->database->CompactRange(options, handle_->families[family], nullptr, nullptr), handle_->path,
          "compact");
  }
}

void Database::checkpoint(const std::filesystem::path& to) {
  rocksdb::Checkpoint* made = nullptr;
  check(rocksdb::Checkpoint::Create(handle_->database.get(), &made), handle_->path, "copy");
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  // 0: what is in memory only is flushed first, whatever its size.
  check(checkpoint->CreateCheckpoint(to.string(), 0), handle_->path, "copy");
}

void Database::scan(std::size_t family, std::string_view prefix,
                    const std::function<bool(std::string_view, std::string_view)>& visit) const {
  const std::unique_ptr<rocksdb::Iterator> iterator = handle_->iterate(family);
  for (iterator->Seek(slice(prefix)); iterator->Valid(); iterator->Next()) {
    if (!view(iterator->key()).starts_with(prefix)) return;
    if (!visit(view(iterator->key()), view(iterator->value()))) return;
  }
  check(iterator->status(), handle_->path, "read");
}

std::optional<std::pair<std::string, std::string>> Database::last(std::size_t family,
                                                                  std::string_view prefix) const {
  const std::unique_ptr<rocksdb::Iterator> iterator = handle_->iterate(family);
  // The keys under a prefix here are eight-byte numbers, so nine 0xff bytes come after all of them.
  iterator->SeekForPrev(std::string(prefix) + std::string(9, '\xff'));
  check(iterator->status(), handle_->path, "read");
  if (!iterator->Valid() || !view(iterator->key()).starts_with(prefix)) return std::nullopt;
  return std::pair(iterator->key().ToString(), iterator->value().ToString());
}

}  // namespace quench::coordinator
