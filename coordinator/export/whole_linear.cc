#include "coordinator/export/whole_linear.h"

namespace quench::coordinator {

GridsOfLinear whole_linear(const ArtifactStore& store, const TensorRecord& tensor) {
  const PackedLinear packed(store, tensor);
  GridsOfLinear linear{packed.outputs(), packed.inputs(), packed.groups(), tensor.bits, {}, {}, {}, packed.group_of()};
  linear.codes.resize(std::size_t{linear.inputs} * linear.outputs);
  linear.scales.resize(std::size_t{linear.groups} * linear.outputs);
  linear.zeros.resize(linear.scales.size());
  for (std::size_t index = 0; index < packed.tiles(); ++index) {
    const RowTile tile = packed.tile(index);
    for (std::uint32_t row = 0; row < tile.rows; ++row) {
      const std::size_t output = tile.first_row + row;
      for (std::size_t k = 0; k < linear.inputs; ++k)
        linear.codes[k * linear.outputs + output] = tile.codes[std::size_t{row} * linear.inputs + k];
      for (std::size_t group = 0; group < linear.groups; ++group) {
        linear.scales[group * linear.outputs + output] = tile.scales[std::size_t{row} * linear.groups + group];
        linear.zeros[group * linear.outputs + output] = tile.zeros[std::size_t{row} * linear.groups + group];
      }
    }
  }
  return linear;
}

}  // namespace quench::coordinator
