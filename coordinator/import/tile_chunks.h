// Codes and grids of any origin as chunks of the packed layout (schemas/packed_layout.h).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "coordinator/store/commit.h"
#include "schemas/artifact.h"
#include "schemas/model_config.h"

namespace quench::coordinator {

// A linear of codes on grids: weight (code - zero) * scale. Row-major, columns in the order of the codes.
struct GridLinear {
  std::uint32_t outputs = 0, inputs = 0, bits = 0;
  std::int32_t group_size = -1;        // columns of a grid, in the order of the codes; -1: all
  std::vector<std::uint8_t> codes;     // [outputs][inputs]
  std::vector<std::uint16_t> scales;   // [outputs][groups], fp16 bits
  std::vector<std::uint8_t> zeros;     // [outputs][groups]
  std::vector<std::int32_t> columns;   // column k of the codes is column columns[k] of the linear; empty: k
};

// A linear of sums of codebook entries, one code for each group of neighbouring inputs.
struct CodebookLinear {
  std::uint32_t outputs = 0, inputs = 0, codebooks = 0, bits = 0, group_size = 0;
  std::vector<std::uint16_t> entries;  // [codebooks][2^bits][group_size], fp16 bits
  std::vector<std::uint16_t> codes;    // [outputs][groups][codebooks]
  std::vector<std::uint16_t> scales;   // [outputs], fp16 bits
};

// Takes a chunk and says what it is called.
using PutChunk = std::function<ChunkRef(Bytes)>;

TensorRecord put_linear(const LinearShape& shape, const GridLinear& linear, const PutChunk& put);
TensorRecord put_linear(const LinearShape& shape, const CodebookLinear& linear, const PutChunk& put);

}  // namespace quench::coordinator
