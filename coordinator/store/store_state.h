// What an open store consists of, and what it holds itself to: shared by the files that make up ArtifactStore, and by no other.
#pragma once

#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <vector>

#include "coordinator/store/artifact_store.h"
#include "coordinator/store/databases.h"
#include "coordinator/store/open_publishes.h"
#include "coordinator/store/store_lock.h"
#include "schemas/error.h"

namespace quench::coordinator {

struct ArtifactStore::State {
  std::filesystem::path directory;
  OpenMode mode;
  LogSink log;
  StoreLock lock;
  // Shared by every call that uses the databases, exclusive to reopen().
  mutable std::shared_mutex gate;
  std::unique_ptr<Databases> databases;  // none after a reopen() that could not even read
  std::mutex commit_mutex;
  OpenPublishes publishes;
  std::mutex collect_mutex;  // one collection at a time; taken before commit_mutex
  bool collecting = false;   // with commit_mutex: commits note what they name
  std::vector<Digest> named_meanwhile;
  std::vector<std::string> jobs_meanwhile;
  mutable std::mutex policy_mutex;
  mutable std::optional<StorePolicy> policy_read;
  mutable std::mutex reason_mutex;
  std::optional<std::string> read_only_reason;

  State(const std::filesystem::path& where, OpenMode how, LogSink sink)
      : directory(where), mode(how), log(std::move(sink)), lock(where) {}

  Databases::Access access() const {
    return mode == OpenMode::read_only ? Databases::Access::read_only : Databases::Access::read_write;
  }

  // `digest` is that of `bytes`.
  void put_chunk(const Digest& digest, std::span<const std::uint8_t> bytes);

  // --- What the policy demands. Each check throws Error(refused) ------------------------------------
  StorePolicy policy(const Databases& open) const;
  void forget_policy();
  // Before a chunk is put.
  void check_quota(const Databases& open, const Digest& digest, std::size_t bytes) const;
  // Before a commit, whose chunks are there.
  void check_organisations(const Databases& open, const Commit& commit) const;
  void check_signatures(const Databases& open, const Commit& commit) const;
  // Of an object of the store or of `commit`.
  Judgement judge(const Databases& open, const Digest& object, const Commit* commit = nullptr) const;

  // --- Using the databases --------------------------------------------------------------------------
  std::optional<std::string> reason() const {
    const std::lock_guard guard(reason_mutex);
    return read_only_reason;
  }

  void set_reason(std::optional<std::string> text) {
    const std::lock_guard guard(reason_mutex);
    read_only_reason = std::move(text);
  }

  Databases& open_databases() const {
    if (!databases)
      throw Error(ErrorCode::failed,
                  "the store " + directory.string() + " is closed: " + reason().value_or(""));
    return *databases;
  }

  template <typename Body>
  auto reading(Body&& body) const {
    const std::shared_lock hold(gate);
    return body(open_databases());
  }

  // Runs one write; a failure of the disk ends writing until reopen().
  template <typename Body>
  auto writing(Databases& open, Body&& body) {
    if (mode == OpenMode::read_only)
      throw Error(ErrorCode::bad_input, "the store " + directory.string() + " was opened for reading only");
    if (const std::optional<std::string> why = reason())
      throw Error(ErrorCode::failed,
                  "the store " + directory.string() + " takes no writes since one failed: " + *why);
    try {
      return body(open);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::failed) set_reason(error.what());
      throw;
    }
  }
};

}  // namespace quench::coordinator
