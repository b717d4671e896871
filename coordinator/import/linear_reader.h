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

// "model.layers.0.mlp.up_proj" of "model.layers.0.mlp.up_proj.weight".
std::string stem_of(const LinearShape& linear);
// Takes the linear's `bias` where the model has none but the file has: some tools write zeros.
void take_zero_bias(Checkpoint& checkpoint, const LinearShape& linear);
// `count` codes of `bits` bits side by side in words, low bits first, a code may run from one word into the next; element i
// of word w is words[w * stride].
void unpack_bits(const std::uint32_t* words, std::size_t stride, std::size_t count, std::uint32_t bits, std::uint32_t* codes);
// Columns sorted by their group, in order within one, as `columns` of a GridLinear: empty when they lie so already. Throws
// Error(bad_input) when a group other than the last has not `group_size` of them.
std::vector<std::int32_t> columns_by_group(const std::string& place, const std::vector<std::int32_t>& group_of, std::int64_t group_size,
                                           std::int64_t groups);

}  // namespace quench::coordinator
