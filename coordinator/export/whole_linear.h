// A packed linear lying the other way round than in its tiles, for formats that want it so: they take a whole linear's memory.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "coordinator/export/linear_tiles.h"

namespace quench::coordinator {

// Columns in the source's order.
struct GridsOfLinear {
  std::uint32_t outputs = 0, inputs = 0, groups = 0, bits = 0;
  std::vector<std::uint8_t> codes;      // [inputs][outputs]
  std::vector<std::uint16_t> scales;    // [groups][outputs], fp16 bits
  std::vector<std::uint8_t> zeros;      // [groups][outputs]
  std::vector<std::uint32_t> group_of;  // [inputs]
};
GridsOfLinear whole_linear(const ArtifactStore& store, const TensorRecord& tensor);

// "model.layers.0.mlp.up_proj" of "model.layers.0.mlp.up_proj.weight".
inline std::string stem_of(const std::string& tensor) { return tensor.substr(0, tensor.rfind(".weight")); }

template <typename Element>
Bytes bytes_of(const std::vector<Element>& values) {
  Bytes bytes(values.size() * sizeof(Element));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

}  // namespace quench::coordinator
