// Both databases and HEAD, opened together: the part of the store that decides whether what is on the
// disk is complete. Opening compares HEAD with the MANIFEST files and with a read-only view of the
// catalog before anything may change; writing keeps HEAD one step behind the catalog at most.
#pragma once

#include <filesystem>
#include <memory>
#include <string_view>

#include "coordinator/store/catalog.h"
#include "coordinator/store/chunks.h"
#include "coordinator/store/head.h"

namespace quench::coordinator {

class Databases {
 public:
  // A file that is there while a store is being made: the databases beside it hold nothing yet and may
  // be removed.
  static constexpr std::string_view kCreatingName = "CREATING";

  // Makes empty databases and HEAD in `directory`, which holds nothing of a store but perhaps the
  // remains of an interrupted create(). Throws Error(failed).
  static void create(const std::filesystem::path& directory, const LogSink& log);
  // Opens what create() made. Throws Error(bad_input) for a newer format, Error(corrupt) for databases
  // that are damaged or behind HEAD, Error(failed) for a disk that does not do its part.
  enum class Access { read_only, read_write };
  Databases(const std::filesystem::path& directory, Access access, const LogSink& log);
  // Closes, and lets HEAD follow what closing wrote.
  ~Databases();
  Databases(const Databases&) = delete;
  Databases& operator=(const Databases&) = delete;

  Chunks& chunks() { return *chunks_; }
  const Chunks& chunks() const { return *chunks_; }
  Catalog& catalog() { return *catalog_; }
  const Catalog& catalog() const { return *catalog_; }
  std::uint64_t commit_number() const { return state_.number; }
  // Writes `commit` and then HEAD. Throws as Catalog::apply. One thread at a time.
  void apply(const Commit& commit);
  // Copies of both databases and a HEAD for them in the new directory `to`, HEAD last. No commit may run
  // meanwhile. Throws Error(failed).
  void checkpoint(const std::filesystem::path& to) const;

 private:
  void advance_head();

  LogSink log_;
  HeadFile head_;
  ManifestWatch chunks_manifest_;
  ManifestWatch catalog_manifest_;
  CommitState state_;
  Access access_;
  std::unique_ptr<Chunks> chunks_;
  std::unique_ptr<Catalog> catalog_;
};

}  // namespace quench::coordinator
