// One format's way of holding quantized linears. The readers of all formats are in the *_reader.cc files.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "coordinator/import/checkpoint.h"
#include "coordinator/import/tile_chunks.h"
#include "schemas/job_spec.h"

namespace quench::coordinator {

class LinearReader {
 public:
  virtual ~LinearReader() = default;
  // What the linears have in common, as far as the checkpoint says it.
  virtual QuantizeSpec recipe() const = 0;
  // Whether the linear is quantized there, rather than left as it was.
  virtual bool holds(const Checkpoint& checkpoint, const LinearShape& linear) const = 0;
  // Throws Error(bad_input) naming the tensor and the rule that it breaks.
  virtual TensorRecord take(Checkpoint& checkpoint, const LinearShape& linear, const PutChunk& put) const = 0;
};

// Each throws Error(bad_input) for settings that this build does not read.
std::unique_ptr<LinearReader> gptq_reader(const Checkpoint& checkpoint);
std::unique_ptr<LinearReader> awq_reader(const Checkpoint& checkpoint);
std::unique_ptr<LinearReader> aqlm_reader(const Checkpoint& checkpoint);
std::unique_ptr<LinearReader> compressed_tensors_reader(const Checkpoint& checkpoint);

// Columns of a group as a key says it; -1: all. Throws Error(bad_input) for 0.
std::int32_t group_size_of(const Checkpoint& checkpoint, const nlohmann::json& object, const char* key);
// Room for the linear's codes, scales and zeros.
GridLinear empty_grid(const LinearShape& linear, std::uint32_t bits, std::int32_t group_size);
// The `scales` tensor of GPTQ and AWQ, which is [groups][outputs].
void take_scales(Checkpoint& checkpoint, const LinearShape& linear, GridLinear& grid);
// "model.layers.0.mlp.up_proj" of "model.layers.0.mlp.up_proj.weight".
std::string stem_of(const LinearShape& linear);
// Takes the linear's `bias` where the model has none but the file has: some tools write zeros.
void take_zero_bias(Checkpoint& checkpoint, const LinearShape& linear);
// `count` codes of `bits` bits side by side in words, low bits first, a code may run from one word into the next; element i
// of word w is words[w * stride].
void unpack_bits(const std::uint32_t* words, std::size_t stride, std::size_t count, std::uint32_t bits, std::uint32_t* codes);
// A grid's `columns` where a tensor says the group of each: sorted by it, in order within one, empty when they lie so already.
// Throws Error(bad_input) when a group other than the last is not as large as the grid's.
std::vector<std::int32_t> columns_by_group(Checkpoint& checkpoint, const std::string& tensor, const GridLinear& grid);

}  // namespace quench::coordinator
