// Makes a calibration set: reads sources, leaves out what should not be there, and cuts one window of tokens
// after the other. The same sources, settings and seed give the same bytes. One thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "schemas/artifact.h"
#include "schemas/job_spec.h"
#include "worker/calibration/candidates.h"
#include "worker/calibration/source_files.h"
#include "worker/tokenize/tokenizer.h"

namespace quench::worker {

struct SetOptions {
  CalibrationKind kind = CalibrationKind::random;
  std::uint32_t sequences = 1024;
  std::uint32_t length = 4096;
  std::uint64_t seed = 0;
  std::uint32_t files_per_repository = 1;
  SourceOptions sources;
  CandidateLimits limits;
};

struct BuiltSet {
  CalibrationRecord record;
  std::vector<std::vector<TokenId>> sequences;
  std::string documents;  // JSON lines, in the order of the sequences
};

// A line for people.
using Teller = std::function<void(const std::string&)>;

// random: documents of prose of at least `length` tokens, a window at a random place of each.
// code:   half Python, half Java files of at least `length` tokens, the first `length` of each, at most
//         `files_per_repository` of a repository.
// mixed:  half code; half questions, which are mostly shorter: they follow each other, each ended by the
//         end-of-text token (a blank line where there is none), until a window is full.
// The sequences are shuffled, so that the first so many of them are a smaller set of the same kind.
// Throws Error(bad_input) when the sources do not give enough, with what was left out and why.
BuiltSet build_set(const SetOptions& options, const Tokenizer& tokenizer, const Teller& tell);

// The manifest of a set, its chunks handed to `put`.
using ChunkSink = std::function<void(const ChunkRef&, std::span<const std::uint8_t>)>;
Manifest set_manifest(const BuiltSet& set, const ChunkSink& put);

}  // namespace quench::worker
