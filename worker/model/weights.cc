#include "worker/model/weights.h"

#include <bit>
#include <cstring>

#include "kernels/weight_panels.h"
#include "schemas/error.h"

namespace quench::worker {
namespace {

static_assert(std::endian::native == std::endian::little, "stored weights are little-endian");

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// Whether the exponent bits of a stored value are all ones: NaN or Inf.
template <typename Word>
std::size_t first_not_finite(std::span<const std::uint8_t> stored, Word exponent_mask) {
  for (std::size_t i = 0; i < stored.size() / sizeof(Word); ++i) {
    Word word;
    std::memcpy(&word, stored.data() + i * sizeof(Word), sizeof(Word));
    if ((word & exponent_mask) == exponent_mask) return i;
  }
  return stored.size();
}

}  // namespace

const StoredTensor& WeightSource::tensor(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end())
    throw Error(ErrorCode::bad_input, place(name) + " is missing; the model cannot be loaded without it");
  return found->second;
}

WeightSource::WeightSource(const ModelConfig& config) : config_(config) {
  for (NamedShape& tensor : model_tensors(config))
    expected_.emplace(std::move(tensor.name), std::move(tensor.shape));
}

void WeightSource::add_tensor(const std::string& name, StoredTensor stored, const std::string& where) {
  const auto expected = expected_.find(name);
  if (expected == expected_.end()) {
    if (name.starts_with("model.layers.") && name.ends_with(".bias"))
      throw Error(ErrorCode::bad_input, where +
                                            " is a bias, which a model of config.json's family does not have; the model would "
                                            "give other results than it was trained for");
    return;
  }
  if (stored.layout == TensorLayout::raw && stored.dtype != DType::f32 && stored.dtype != DType::f16 &&
      stored.dtype != DType::bf16)
    throw Error(ErrorCode::bad_input, where + " has type " + std::string(to_string(stored.dtype)) +
                                          "; expected F32, F16 or BF16: convert the model first");
  if (stored.shape != expected->second)
    throw Error(ErrorCode::bad_input, where + " has shape " + shape_text(stored.shape) +
                                          "; config.json asks for " + shape_text(expected->second) +
                                          ": the two files are of different models");
  tensors_.emplace(name, std::move(stored));
}

std::vector<std::uint8_t> WeightSource::read_codebooks(const std::string& name) const {
  throw Error(ErrorCode::internal, place(name) + " has no codebooks");
}

std::vector<NamedShape> model_tensors(const ModelConfig& config) {
  std::vector<NamedShape> tensors = outer_tensors(config);
  for (std::uint32_t layer = 0; layer < config.layers; ++layer) {
    for (const LinearShape& linear : block_linears(config, layer))
      tensors.push_back({linear.tensor, {linear.outputs, linear.inputs}});
    for (BlockVector& vector : block_vectors(config, layer)) tensors.push_back({std::move(vector.tensor), {vector.size}});
  }
  return tensors;
}

void check_complete(const WeightSource& source) {
  for (const NamedShape& tensor : model_tensors(source.config())) source.tensor(tensor.name);
}

std::vector<std::uint8_t> read_stored_rows(const WeightSource& source, const std::string& name,
                                           std::uint64_t first_row, std::uint64_t rows) {
  const StoredTensor& stored = source.tensor(name);
  QUENCH_CHECK(stored.layout == TensorLayout::raw, name);
  QUENCH_CHECK(first_row <= stored.rows() && rows <= stored.rows() - first_row, name, first_row, rows);
  const std::uint64_t first_value = first_row * stored.columns();
  const std::uint64_t value_bytes = dtype_bytes(stored.dtype);
  std::vector<std::uint8_t> bytes(rows * stored.columns() * value_bytes);
  source.read_bytes(name, first_value * value_bytes, bytes);
  check_finite(bytes, stored.dtype, first_value, source.place(name));
  return bytes;
}

std::vector<float> read_rows(const WeightSource& source, const std::string& name, std::uint64_t first_row,
                             std::uint64_t rows) {
  const StoredTensor& stored = source.tensor(name);
  const std::vector<std::uint8_t> bytes = read_stored_rows(source, name, first_row, rows);
  std::vector<float> values(rows * stored.columns());
  kernels::convert_to_f32(bytes.data(), element_type(stored.dtype), values.size(), values.data());
  return values;
}

std::vector<float> read_tensor(const WeightSource& source, const std::string& name) {
  return read_rows(source, name, 0, source.tensor(name).rows());
}

kernels::ElementType element_type(DType dtype) {
  QUENCH_CHECK(dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16, to_string(dtype));
  if (dtype == DType::f32) return kernels::ElementType::f32;
  return dtype == DType::f16 ? kernels::ElementType::f16 : kernels::ElementType::bf16;
}

void check_finite(std::span<const std::uint8_t> stored, DType dtype, std::uint64_t first_index,
                  const std::string& place) {
  const kernels::ElementType type = element_type(dtype);
  const std::size_t found =
      type == kernels::ElementType::f32   ? first_not_finite<std::uint32_t>(stored, 0x7f800000u)
      : type == kernels::ElementType::f16 ? first_not_finite<std::uint16_t>(stored, std::uint16_t{0x7c00})
                                          : first_not_finite<std::uint16_t>(stored, std::uint16_t{0x7f80});
  if (found == stored.size()) return;
  throw Error(ErrorCode::bad_input,
              place + ": value " + std::to_string(first_index + found) +
                  " is NaN or infinite; expected finite weights: the file is damaged or its "
                  "training diverged");
}

}  // namespace quench::worker
