// The hidden states of calibration sequences at block boundaries, on this node's scratch disk: what a
// resuming rank reads instead of running the blocks before. One file per sequence and boundary, each
// with its digest; a file that is missing, torn or of another job is simply not there. Two boundaries
// are kept. One thread at a time per sequence.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "kernels/tensor_view.h"
#include "schemas/digest.h"

namespace quench::worker {

class HiddenStates {
 public:
  // `key` names job, artifact and calibration; files of another key are not read. Makes `directory`.
  HiddenStates(std::filesystem::path directory, Digest key);

  // The input of block `block` for `sequence`, [tokens, hidden].
  void save(std::uint32_t block, std::uint32_t sequence, kernels::ConstMatrixView hidden);
  // save and keep_two for sequences first, first + 1, … of `length` rows each, below each other in `hidden`, on several threads.
  void save_all(std::uint32_t block, std::uint32_t first, kernels::ConstMatrixView hidden, std::int64_t length, int threads);
  // The latest boundary at or before `block` at which `sequence` is kept whole, if any.
  std::optional<std::uint32_t> load_latest(std::uint32_t block, std::uint32_t sequence,
                                           kernels::MatrixView hidden) const;
  // Forgets the boundaries of `sequence` other than `block` and the one before it.
  void keep_two(std::uint32_t block, std::uint32_t sequence) const;

 private:
  std::filesystem::path file_of(std::uint32_t block, std::uint32_t sequence) const;
  bool load(std::uint32_t block, std::uint32_t sequence, kernels::MatrixView hidden) const;

  std::filesystem::path directory_;
  Digest key_;
};

}  // namespace quench::worker
