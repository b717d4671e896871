#include "coordinator/import/linear_reader.h"

#include <algorithm>
#include <numeric>

#include "schemas/error.h"

namespace quench::coordinator {

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

std::vector<std::int32_t> columns_by_group(const std::string& place, const std::vector<std::int32_t>& group_of, std::int64_t group_size,
                                           std::int64_t groups) {
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
