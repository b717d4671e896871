// What an artifact's chunks hold, a row tile at a time, so that an export's memory does not grow with the model.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "coordinator/store/artifact_store.h"
#include "schemas/artifact.h"

namespace quench::coordinator {

// Throws Error(corrupt) when the chunk is missing, damaged or of another size than the manifest says.
Bytes checked_chunk(const ArtifactStore& store, const ChunkRef& chunk);

// Some rows of a packed linear, columns in the source's order. A weight is (code - zero) * scale.
struct RowTile {
  std::uint32_t first_row = 0, rows = 0;
  std::vector<std::uint8_t> codes;    // [rows][inputs]
  std::vector<std::uint16_t> scales;  // [rows][groups], fp16 bits
  std::vector<std::uint8_t> zeros;    // [rows][groups]
};

// A view of a packed linear in a store; both outlive it.
class PackedLinear {
 public:
  // `tensor` has passed check_tensor_record. Throws Error(corrupt) when its column order is not a permutation.
  PackedLinear(const ArtifactStore& store, const TensorRecord& tensor);
  std::uint32_t outputs() const { return outputs_; }
  std::uint32_t inputs() const { return inputs_; }
  std::uint32_t groups() const { return groups_; }
  // The group of each column of the source.
  const std::vector<std::uint32_t>& group_of() const { return group_of_; }
  // Whether each group is a run of neighbouring columns, in order: not so with act-order.
  bool groups_in_order() const;
  std::size_t tiles() const { return tensor_.chunks.size(); }
  RowTile tile(std::size_t index) const;

 private:
  const ArtifactStore& store_;
  const TensorRecord& tensor_;
  std::uint32_t outputs_ = 0, inputs_ = 0, groups_ = 0;
  std::vector<std::uint32_t> columns_;   // where column k of the codes lies in the source
  std::vector<std::uint32_t> group_of_;
};

// Whether visit_weights can read it: a linear, or raw floats.
bool holds_weights(const TensorRecord& tensor);
// Calls `visit` with the fp32 weights of a tensor in order, of linears whole rows: the values that the engine computes
// with, to the bit (f64 is rounded).
void visit_weights(const ArtifactStore& store, const TensorRecord& tensor,
                   const std::function<void(std::span<const float>)>& visit);
// The values as fp16 or bf16, little endian. Throws Error(bad_input) naming `tensor` when one is too large.
Bytes rounded(std::span<const float> values, DType to, const std::string& tensor);

}  // namespace quench::coordinator
