#include "coordinator/store/databases.h"

#include <fcntl.h>

#include <string>

#include "coordinator/store/disk.h"
#include "coordinator/store/keys.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

HeadRecord record_of(const CommitState& state, ManifestMark chunks, ManifestMark catalog) {
  return {0, state.number, state.chain, chunks, catalog};
}

// The catalog may be one commit ahead of HEAD: a crash between the two writes, or a torn slot.
void check_state(const HeadRecord& head, const CommitState& catalog, const std::filesystem::path& directory) {
  const bool same = catalog.number == head.commit && catalog.chain == head.chain;
  const bool one_ahead = catalog.number == head.commit + 1 && catalog.chain_before == head.chain;
  if (same || one_ahead) return;
  const std::string relation = catalog.number < head.commit ? "is behind" : "does not continue";
  throw Error(ErrorCode::corrupt,
              "the catalog of " + directory.string() + " is at commit " + std::to_string(catalog.number) +
                  " and " + relation + " HEAD, which acknowledged commit " + std::to_string(head.commit) +
                  ": its log was damaged or it was replaced by another; nothing was changed, restore the "
                  "store from a copy");
}

void check_format(std::uint32_t format, const std::filesystem::path& directory) {
  if (format <= kStoreFormat) return;
  throw Error(ErrorCode::bad_input, "the store " + directory.string() + " is of format " +
                                        std::to_string(format) + ", this build of quench reads format " +
                                        std::to_string(kStoreFormat) +
                                        ": use the newer quench that made the store");
}

// Once there is a HEAD, a marker left by a crash must go: beside a HEAD lost later it would let create()
// remove a full store.
void end_creation(const std::filesystem::path& directory) {
  if (std::filesystem::remove(directory / Databases::kCreatingName)) sync_directory(directory);
}

}  // namespace

void Databases::create(const std::filesystem::path& directory, const LogSink& log) {
  const std::filesystem::path marker = directory / kCreatingName;
  File(marker, O_WRONLY | O_CREAT).sync();
  sync_directory(directory);
  for (const char* name : {"chunks", "catalog"}) std::filesystem::remove_all(directory / name);
  CommitState state;
  {
    const Chunks chunks(directory / "chunks", DatabaseAccess::create, log);
    const Catalog catalog(directory / "catalog", DatabaseAccess::create, log);
    state = catalog.state();
  }
  HeadFile::create(directory / "HEAD", record_of(state, ManifestWatch(directory / "chunks").mark(),
                                                 ManifestWatch(directory / "catalog").mark()));
  end_creation(directory);
}

Databases::Databases(const std::filesystem::path& directory, Access access, const LogSink& log)
    : log_(log),
      head_(directory / "HEAD", access == Access::read_only ? O_RDONLY : O_RDWR),
      chunks_manifest_(directory / "chunks"),
      catalog_manifest_(directory / "catalog"),
      access_(access) {
  check_manifest(directory / "chunks", head_.newest().chunks);
  check_manifest(directory / "catalog", head_.newest().catalog);
  catalog_ = std::make_unique<Catalog>(directory / "catalog", DatabaseAccess::read_only, log);
  check_format(catalog_->format(), directory);
  state_ = catalog_->state();
  check_state(head_.newest(), state_, directory);
  if (access == Access::read_only) {
    chunks_ = std::make_unique<Chunks>(directory / "chunks", DatabaseAccess::read_only, log);
    return;
  }
  end_creation(directory);
  catalog_.reset();
  catalog_ = std::make_unique<Catalog>(directory / "catalog", DatabaseAccess::read_write, log);
  chunks_ = std::make_unique<Chunks>(directory / "chunks", DatabaseAccess::read_write, log);
  check_state(head_.newest(), catalog_->state(), directory);
  if (catalog_->format() < kStoreFormat) {
    advance_head();  // HEAD may be one behind the catalog, which now goes one further
    state_ = catalog_->upgrade(state_);
    advance_head();  // both slots are to say the new format
  }
  // RocksDB has begun new MANIFEST files, and HEAD may have been one commit behind.
  advance_head();
}

Databases::~Databases() {
  chunks_.reset();
  catalog_.reset();
  if (access_ == Access::read_only) return;
  try {
    advance_head();
  } catch (const Error& error) {
    // HEAD stays as the last commit wrote it, which is right, if less than could be known.
    if (log_) log_(LogLevel::warning, error.what());
  }
}

void Databases::apply(const Commit& commit) {
  state_ = catalog_->apply(commit, state_);
  advance_head();
}

void Databases::checkpoint(const std::filesystem::path& to) const {
  std::error_code error;
  std::filesystem::create_directories(to, error);
  if (is_full(error.value())) throw Error(ErrorCode::failed, disk_full_text(to));
  if (error) throw errno_error(ErrorCode::failed, "cannot make " + to.string(), error.value());
  chunks_->checkpoint(to / "chunks");
  catalog_->checkpoint(to / "catalog");
  HeadFile::create(to / "HEAD", record_of(state_, ManifestWatch(to / "chunks").mark(), ManifestWatch(to / "catalog").mark()));
}

void Databases::advance_head() {
  head_.write(record_of(state_, chunks_manifest_.mark(), catalog_manifest_.mark()));
}

}  // namespace quench::coordinator
