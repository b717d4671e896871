// One artifact from the first uncommitted block to the last, by the whole gang: what a QuantizeOrder
// asks for. Compute thread; every rank calls it with the same order.
#pragma once

#include "schemas/messages.h"
#include "worker/quantize/block_pipeline.h"
#include "worker/quantize/calibration.h"

namespace quench::worker {

// Carries the order out; each finished block is committed through the sink before the next begins, so
// a crash costs at most one block. Hidden states are kept in the order's scratch directory; those
// that are missing are recomputed from the committed blocks, bit for bit. `calibration` may be empty
// for methods that need none. `read_chunk` fetches committed chunks.
// Throws Error: bad_input for the model's or calibration's faults, whatever sink and gang throw.
void quantize_artifact(const GangContext& context, const QuantizeOrder& order,
                       const CalibrationSet& calibration, const ChunkReader& read_chunk);

}  // namespace quench::worker
