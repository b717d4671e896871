// Keeping a store: verifying it, repairing it from another, backing it up while it is used.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "coordinator/store/artifact_store.h"

namespace quench::coordinator {

struct VerifyChoice {
  std::uint64_t shares = 1;            // chunks are read in so many turns, one a day
  std::optional<std::uint64_t> share;  // which; none: the day's
};
// Everything, or a share of the chunks and every record. The exit status is the sum of 1 (corrupt), 2 (untrusted: not signed,
// or not by whom it claims, where the store's policy trusts keys) and 4 (unverifiable: signed by a key that is not known
// here, or a manifest of a newer build).
int verify_store(const ArtifactStore& store, const VerifyChoice& choice, std::uint64_t now_ms, bool json, std::string& out);

// Brings damaged and missing chunks and manifests of `store` from `other`, by digest. What was damaged and is not in
// `other` either is told. Returns the exit status of verifying again.
int repair_store(ArtifactStore& store, const ArtifactStore& other, bool json, std::string& out);

// A copy of the store in the new directory `to`, as of one moment, while the store goes on. With `linked`, data files are
// shared with the store (at once, and on the same disk only); otherwise they are copied and synced. The copy is a store: it
// can be opened, verified, pulled from. Throws Error(bad_input), Error(failed).
enum class BackupKind { copied, linked };
std::string back_up_store(ArtifactStore& store, const std::filesystem::path& to, BackupKind kind, bool json);

// Makes the new store `to` from a backup, verified before it has its name. No store is open. Throws Error(bad_input) when
// `to` is there or `from` is no store, Error(corrupt) when the backup is damaged.
std::string restore_store(const std::filesystem::path& from, const std::filesystem::path& to, bool json);

}  // namespace quench::coordinator
