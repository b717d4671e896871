// What the fine-tuning of a block knows after an epoch, and its file on the scratch disk: an interruption then costs an
// epoch, not the block. Every rank has the same state, so rank 0 writes it and a resuming gang of any size is given it. A file
// that is missing, torn, or of another start is simply not there. Compute thread only.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "cluster/collective/collective.h"
#include "schemas/digest.h"

namespace quench::worker {

struct TuningState {
  std::uint32_t epochs = 0;        // that were run
  std::uint32_t without_gain = 0;  // of them since the best
  double error_before = 0, least = 0;         // of the validation sequences
  double first_power = 1, second_power = 1;   // Adam's decays to the number of steps
  std::uint64_t draws = 0;                    // where the random numbers are
  std::vector<std::uint32_t> order;           // of the training sequences
  std::vector<std::int32_t> exponents;        // of the gradients' units
  std::vector<float> current, best;           // parameters
  std::vector<double> first, second;          // Adam's moments
  bool operator==(const TuningState&) const = default;
};

class TuningFile {
 public:
  // `key` names job, artifact, calibration and block; a file of another key is not read. An empty path keeps nothing.
  TuningFile(std::filesystem::path path, const Digest& key) : path_(std::move(path)), key_(key) {}

  // Rank 0's part; others return. `start` are the parameters before the first step. Throws Error(failed) when it cannot be
  // written.
  void save(cluster::Collective& gang, std::span<const float> start, const TuningState& state) const;
  // Collective: rank 0's state on every rank, if it has one that began at `start`.
  std::optional<TuningState> load(cluster::Collective& gang, std::span<const float> start) const;
  void remove() const;

 private:
  Digest key_of(std::span<const float> start) const;
  std::filesystem::path path_;
  Digest key_;
};

}  // namespace quench::worker
