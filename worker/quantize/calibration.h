// Calibration: windows of tokens cut from plain text, the same on every rank, and which rank runs which
// of them. Pure after reading the files; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "schemas/digest.h"
#include "schemas/job_spec.h"
#include "worker/tokenize/tokenizer.h"

namespace quench::worker {

struct CalibrationSet {
  std::uint32_t length = 0;  // tokens of every sequence
  std::vector<std::vector<TokenId>> sequences;
  Digest digest;  // of sequences and length: what the artifact is derived from
};

// What names windows, wherever they come from.
Digest windows_digest(const std::vector<std::vector<TokenId>>& sequences, std::uint32_t length);

// Each file is tokenized whole, without special tokens; the windows start at distinct places of
// their concatenation, drawn with the spec's seed and sorted. Throws Error(bad_input) naming the file
// that cannot be read, or how many tokens there are and how many are needed when the text is too
// short for `sequences` different windows.
CalibrationSet build_calibration(const CalibrationSpec& spec, const Tokenizer& tokenizer);

// Sequences of tokens drawn with the spec's seed, each of the vocabulary as likely as any other: for models without a
// tokenizer.
CalibrationSet random_calibration(const CalibrationSpec& spec, std::uint32_t vocabulary);

// Rank `rank` runs the sequences [begin, end): consecutive, sizes differ by at most one.
struct SequenceShare {
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
  std::uint32_t count() const { return end - begin; }
};
SequenceShare sequence_share(std::uint32_t sequences, std::uint32_t rank, std::uint32_t world);

}  // namespace quench::worker
