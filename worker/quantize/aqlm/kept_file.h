// A state of fine-tuning on the scratch disk, so that an interruption costs little. Every rank has the same state, so rank 0
// keeps it and a resuming gang of any size is given it. A file that is missing, torn or of another job is simply not there.
// Compute thread only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "cluster/collective/collective.h"
#include "schemas/digest.h"

namespace quench::worker {

class KeptFile {
 public:
  // `key` names what the state belongs to; a file of another key is not read. An empty path keeps nothing.
  KeptFile(std::filesystem::path path, const Digest& key) : path_(std::move(path)), key_(key) {}
  // The same file for what began with these bytes.
  KeptFile begun_at(std::span<const std::uint8_t> start) const;

  // Rank 0's part; others return. Throws Error(failed) when it cannot be written.
  void save(cluster::Collective& gang, std::span<const std::uint8_t> bytes) const;
  // Collective: what rank 0 has, on every rank; bytes are never empty.
  std::optional<std::vector<std::uint8_t>> load(cluster::Collective& gang) const;
  void remove() const;

 private:
  std::filesystem::path path_;
  Digest key_;
};

}  // namespace quench::worker
