#include "coordinator/import/linear_reader.h"

#include <algorithm>
#include <numeric>

#include "schemas/error.h"

namespace quench::coordinator {

std::int32_t group_size_of(const Checkpoint& checkpoint, const nlohmann::json& object, const char* key) {
  const auto size = static_cast<std::int32_t>(integer_of(checkpoint, object, key, -1, 1 << 20));
  if (size == 0) refuse(checkpoint, "\"" + std::string(key) + "\" is 0; expected -1 or at least 1");
  return size;
}

GridLinear empty_grid(const LinearShape& linear, std::uint32_t bits, std::int32_t group_size) {
  const std::size_t width = group_size < 0 ? linear.inputs : static_cast<std::size_t>(group_size);
  const std::size_t grids = linear.outputs * ((linear.inputs + width - 1) / width);
  GridLinear grid{linear.outputs, linear.inputs, bits, group_size, {}, {}, {}, {}};
  grid.codes.resize(std::size_t{linear.outputs} * linear.inputs);
  grid.scales.resize(grids);
  grid.zeros.resize(grids);
  return grid;
}

void take_scales(Checkpoint& checkpoint, const LinearShape& linear, GridLinear& grid) {
  const std::size_t outputs = linear.outputs, groups = grid.scales.size() / outputs;
  const std::vector<std::uint16_t> scales = checkpoint.scales(stem_of(linear) + ".scales", {groups, outputs});
  for (std::size_t group = 0; group < groups; ++group)
    for (std::size_t output = 0; output < outputs; ++output) grid.scales[output * groups + group] = scales[group * outputs + output];
}

std::string stem_of(const LinearShape& linear) { return linear.tensor.substr(0, linear.tensor.rfind(".weight")); }

void take_zero_bias(Checkpoint& checkpoint, const LinearShape& linear) {
  const std::string bias = stem_of(linear) + ".bias";
  if (!checkpoint.has(bias) || checkpoint.is_used(bias)) return;
  const Bytes bytes = checkpoint.read(bias, 0, checkpoint.entry(bias).bytes);
  // The sign of a zero does not matter.
  const std::size_t width = dtype_bytes(checkpoint.entry(bias).dtype);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    if (bytes[i] != 0 && !(bytes[i] == 0x80 && i % width == width - 1))
      throw Error(ErrorCode::bad_input, checkpoint.place(bias) + " is not zero; this model's linears have no bias");
}

void unpack_bits(const std::uint32_t* words, std::size_t stride, std::size_t count, std::uint32_t bits, std::uint32_t* codes) {
  const std::uint32_t mask = (1u << bits) - 1;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = i * bits, word = at / 32;
    std::uint32_t code = words[word * stride] >> (at % 32);
    if (at % 32 + bits > 32) code |= words[(word + 1) * stride] << (32 - at % 32);
    codes[i] = code & mask;
  }
}

std::vector<std::int32_t> columns_by_group(Checkpoint& checkpoint, const std::string& tensor, const GridLinear& grid) {
  const std::string place = checkpoint.place(tensor);
  const auto group_of = checkpoint.values<std::int32_t>(tensor, DType::i32, {grid.inputs});
  const std::int64_t group_size = grid.group_size < 0 ? grid.inputs : grid.group_size;
  const auto groups = static_cast<std::int64_t>(grid.scales.size() / grid.outputs);
  std::vector<std::int64_t> members(static_cast<std::size_t>(groups), 0);
  for (std::size_t k = 0; k < group_of.size(); ++k) {
    if (group_of[k] < 0 || group_of[k] >= groups)
      throw Error(ErrorCode::bad_input, place + ": column " + std::to_string(k) + " is in group " + std::to_string(group_of[k]) + " of " +
                                            std::to_string(groups));
    ++members[static_cast<std::size_t>(group_of[k])];
  }
  for (std::int64_t group = 0; group < groups; ++group) {
    const std::int64_t expected =
        group + 1 < groups ? group_size : static_cast<std::int64_t>(group_of.size()) - group_size * (groups - 1);
    if (const std::int64_t found = members[static_cast<std::size_t>(group)]; found != expected)
      throw Error(ErrorCode::bad_input, place + ": group " + std::to_string(group) + " has " + std::to_string(found) +
                                            " columns; expected " + std::to_string(expected));
  }
  if (std::is_sorted(group_of.begin(), group_of.end())) return {};
  std::vector<std::int32_t> columns(group_of.size());
  std::iota(columns.begin(), columns.end(), 0);
  std::stable_sort(columns.begin(), columns.end(), [&](std::int32_t a, std::int32_t b) {
    return group_of[static_cast<std::size_t>(a)] < group_of[static_cast<std::size_t>(b)];
  });
  return columns;
}

}  // namespace quench::coordinator
