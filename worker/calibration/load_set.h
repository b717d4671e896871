// The windows of a calibration set of the store, on every rank.
#pragma once

#include "schemas/artifact.h"
#include "schemas/job_spec.h"
#include "worker/model/weights.h"
#include "worker/quantize/calibration.h"

namespace quench::worker {

// The first `spec.sequences` sequences of the set, of each the first `spec.length` tokens (0: all). Throws
// Error(bad_input) when the set was made for another tokenizer or is smaller than that, Error(corrupt) when
// its bytes are not those its record names.
CalibrationSet load_set(const Manifest& manifest, const CalibrationSpec& spec, const Tokenizer& tokenizer,
                        const ChunkReader& read_chunk);

}  // namespace quench::worker
