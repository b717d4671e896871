#include "schemas/artifact.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "schemas/error.h"
#include "schemas/packed_layout.h"

namespace quench {
namespace {

// Takes part in the product of a shape; the checks before keep it far from overflow.
std::uint64_t element_count(const std::vector<std::uint64_t>& shape) {
  std::uint64_t count = 1;
  for (const std::uint64_t extent : shape) count *= extent;
  return count;
}

// "model.layers.N.….weight" with two dimensions: a linear of a block, quantized or not.
bool is_block_linear(const TensorRecord& tensor) {
  return tensor.shape.size() == 2 && tensor.name.starts_with("model.layers.");
}

[[noreturn]] void inconsistent(const TensorRecord& tensor, const std::string& what) {
  throw Error(ErrorCode::corrupt, "tensor \"" + tensor.name + "\": " + what);
}

void check_activations(const TensorRecord& tensor) {
  if (tensor.activations == Activations::none) {
    if (tensor.activation_scale != 0) inconsistent(tensor, "a scale of activations that are not rounded");
    return;
  }
  if (tensor.bits != 8 || tensor.group_size != -1 || !tensor.permutation.digest.is_none())
    inconsistent(tensor, "integer activations; expected 8 bits, one scale a row and no permutation with them");
  if (tensor.shape[1] > kIntegerInputsMax)
    inconsistent(tensor, "integer activations of " + std::to_string(tensor.shape[1]) + " inputs; expected at most " +
                             std::to_string(kIntegerInputsMax));
  const double scale = tensor.activation_scale;
  const bool is_fixed = tensor.activations == Activations::fixed;
  if (is_fixed ? !(std::isfinite(scale) && scale > 0 && static_cast<double>(static_cast<float>(scale)) == scale) : scale != 0)
    inconsistent(tensor, is_fixed ? "static activations; expected their scale, a positive fp32 number"
                                  : "dynamic activations with a scale");
}

void check_packed(const TensorRecord& tensor) {
  if (tensor.shape.size() != 2) inconsistent(tensor, "packed, but not a matrix");
  if (tensor.bits != 8 && tensor.bits != 4 && tensor.bits != 3 && tensor.bits != 2)
    inconsistent(tensor, "packed at " + std::to_string(tensor.bits) + " bits; 8, 4, 3 and 2 are known");
  if (tensor.group_size != -1 && (tensor.group_size < 1 || tensor.group_size > 65536))
    inconsistent(tensor, "a group size of " + std::to_string(tensor.group_size));
  check_activations(tensor);
  const std::uint64_t outputs = tensor.shape[0], inputs = tensor.shape[1], tile = tensor.rows_per_tile;
  if (tile == 0 || tile % kPanelRows != 0)
    inconsistent(tensor, std::to_string(tile) + " rows per tile; expected a multiple of 16");
  if (tensor.chunks.size() != (outputs + tile - 1) / tile)
    inconsistent(tensor, std::to_string(tensor.chunks.size()) + " chunks for " + std::to_string(outputs) +
                             " rows in tiles of " + std::to_string(tile));
  for (std::uint64_t i = 0; i < tensor.chunks.size(); ++i) {
    PackedTileShape shape;
    shape.rows = static_cast<std::uint32_t>(std::min(tile, outputs - i * tile));
    shape.inputs = static_cast<std::uint32_t>(inputs);
    shape.bits = tensor.bits;
    shape.group_size = tensor.group_size;
    if (tensor.chunks[i].bytes != shape.bytes())
      inconsistent(tensor, "tile " + std::to_string(i) + " has " + std::to_string(tensor.chunks[i].bytes) +
                               " bytes; its shape takes " + std::to_string(shape.bytes()));
  }
  if (!tensor.permutation.digest.is_none() && tensor.permutation.bytes != inputs * 4)
    inconsistent(tensor, "a permutation of " + std::to_string(tensor.permutation.bytes) + " bytes for " +
                             std::to_string(inputs) + " inputs");
}

void check_additive(const TensorRecord& tensor) {
  if (tensor.shape.size() != 2) inconsistent(tensor, "made of codebook entries, but not a matrix");
  const std::string fault = additive_fault(tensor.codebooks, tensor.bits, tensor.group_size, tensor.shape[1]);
  if (!fault.empty()) inconsistent(tensor, fault);
  if (!tensor.permutation.digest.is_none()) inconsistent(tensor, "codebook entries and a permutation");
  const std::uint64_t outputs = tensor.shape[0], inputs = tensor.shape[1], tile = tensor.rows_per_tile;
  if (tile == 0 || tile % kPanelRows != 0)
    inconsistent(tensor, std::to_string(tile) + " rows per tile; expected a multiple of 16");
  if (tensor.chunks.size() != 1 + (outputs + tile - 1) / tile)
    inconsistent(tensor, std::to_string(tensor.chunks.size()) + " chunks for codebooks and " + std::to_string(outputs) +
                             " rows in tiles of " + std::to_string(tile));
  for (std::uint64_t i = 0; i < tensor.chunks.size(); ++i) {
    AdditiveTileShape shape;
    shape.rows = i == 0 ? 0 : static_cast<std::uint32_t>(std::min(tile, outputs - (i - 1) * tile));
    shape.inputs = static_cast<std::uint32_t>(inputs);
    shape.codebooks = tensor.codebooks;
    shape.bits = tensor.bits;
    shape.group_size = static_cast<std::uint32_t>(tensor.group_size);
    const std::uint64_t expected = i == 0 ? shape.codebook_bytes() : shape.bytes();
    if (tensor.chunks[i].bytes != expected)
      inconsistent(tensor, "chunk " + std::to_string(i) + " has " + std::to_string(tensor.chunks[i].bytes) +
                               " bytes; its shape takes " + std::to_string(expected));
  }
}

void check_raw(const TensorRecord& tensor) {
  const std::uint64_t expected = element_count(tensor.shape) * dtype_bytes(tensor.dtype);
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < tensor.chunks.size(); ++i) {
    const std::uint64_t chunk = tensor.chunks[i].bytes;
    const bool last = i + 1 == tensor.chunks.size();
    if (last ? chunk == 0 || chunk > kRawChunkBytes : chunk != kRawChunkBytes)
      inconsistent(tensor, "chunk " + std::to_string(i) + " has " + std::to_string(chunk) +
                               " bytes; raw tensors are cut every " + std::to_string(kRawChunkBytes));
    bytes += chunk;
  }
  if (bytes != expected)
    inconsistent(tensor,
                 std::to_string(bytes) + " bytes of chunks; its shape takes " + std::to_string(expected));
}

}  // namespace

void check_tensor_record(const TensorRecord& tensor) {
  std::uint64_t elements = 1;
  if (tensor.shape.size() > 8) inconsistent(tensor, "more than 8 dimensions");
  for (const std::uint64_t extent : tensor.shape) {
    if (extent == 0 || extent > 0xffffffffull || elements > (std::uint64_t{1} << 48) / extent)
      inconsistent(tensor, "a shape with an empty or absurd extent");
    elements *= extent;
  }
  if (tensor.layout == TensorLayout::packed) {
    check_packed(tensor);
  } else if (tensor.layout == TensorLayout::additive) {
    check_additive(tensor);
  } else {
    check_raw(tensor);
  }
}

void require_model(const Manifest& manifest, std::string_view ref) {
  if (manifest.set)
    throw Error(ErrorCode::bad_input, std::string(ref) +
                                          " is a calibration set, not a model: `quench calibration show` shows it, and a job "
                                          "uses it as \"calibration\": {\"set\": …}");
}

const CalibrationRecord& require_set(const Manifest& manifest, std::string_view ref) {
  if (!manifest.set)
    throw Error(ErrorCode::bad_input, std::string(ref) + " is not a calibration set: `quench calibration ls` lists those of the "
                                                         "store, `quench calibration build` makes one");
  const TensorRecord& tokens = tensor_named(manifest, kSetTokens);
  const TensorRecord& documents = tensor_named(manifest, kSetDocuments);
  for (const TensorRecord* tensor : {&tokens, &documents}) {
    check_tensor_record(*tensor);
    if (tensor->layout != TensorLayout::raw) inconsistent(*tensor, "packed; a calibration set's are raw");
  }
  if (tokens.dtype != DType::i32 || tokens.shape != std::vector<std::uint64_t>{manifest.set->sequences, manifest.set->length})
    inconsistent(tokens, "not " + std::to_string(manifest.set->sequences) + " sequences of " +
                             std::to_string(manifest.set->length) + " ids, as its set says");
  if (documents.dtype != DType::u8 || documents.shape.size() != 1) inconsistent(documents, "not a text");
  return *manifest.set;
}

const TensorRecord& tensor_named(const Manifest& manifest, std::string_view name) {
  for (const TensorRecord& tensor : manifest.tensors)
    if (tensor.name == name) return tensor;
  throw Error(ErrorCode::corrupt, "a manifest without a tensor \"" + std::string(name) + "\"");
}

std::vector<ChunkRef> chunks_of(const Manifest& manifest) {
  std::vector<ChunkRef> chunks;
  for (const FileRecord& file : manifest.files) chunks.push_back(file.chunk);
  for (const TensorRecord& tensor : manifest.tensors) {
    chunks.insert(chunks.end(), tensor.chunks.begin(), tensor.chunks.end());
    if (!tensor.permutation.digest.is_none()) chunks.push_back(tensor.permutation);
  }
  return chunks;
}

std::uint64_t artifact_bytes(const Manifest& manifest) {
  std::set<Digest> seen;
  std::uint64_t bytes = 0;
  for (const ChunkRef& chunk : chunks_of(manifest))
    if (seen.insert(chunk.digest).second) bytes += chunk.bytes;
  return bytes;
}

double bits_per_weight(const Manifest& manifest) {
  double bits = 0, weights = 0;
  for (const TensorRecord& tensor : manifest.tensors) {
    if (!is_block_linear(tensor)) continue;
    for (const ChunkRef& chunk : tensor.chunks) bits += 8.0 * static_cast<double>(chunk.bytes);
    if (!tensor.permutation.digest.is_none()) bits += 8.0 * static_cast<double>(tensor.permutation.bytes);
    weights += static_cast<double>(element_count(tensor.shape));
  }
  return weights == 0 ? 0 : bits / weights;
}

std::uint32_t nominal_bits(const Manifest& manifest) {
  if (manifest.recipe.budget_gib > 0) return static_cast<std::uint32_t>(bits_per_weight(manifest) + 0.5);
  if (manifest.recipe.method != Method::none) return manifest.recipe.bits;
  std::uint32_t bits = 0;
  for (const TensorRecord& tensor : manifest.tensors)
    if (is_block_linear(tensor)) bits = std::max(bits, 8 * dtype_bytes(tensor.dtype));
  return bits;
}

std::string_view to_string(VerdictResult result) {
  switch (result) {
    case VerdictResult::passed:
      return "passed";
    case VerdictResult::failed:
      return "failed";
    case VerdictResult::timed_out:
      return "timed_out";
    case VerdictResult::out_of_memory:
      return "out_of_memory";
    case VerdictResult::output_limit:
      return "output_limit";
    case VerdictResult::sandbox_violation:
      return "sandbox_violation";
    case VerdictResult::compile_error:
      return "compile_error";
  }
  return "unknown";
}

std::string_view to_string(Confinement confinement) {
  switch (confinement) {
    case Confinement::namespaces:
      return "namespaces";
    case Confinement::landlock:
      return "landlock";
  }
  return "unknown";
}

}  // namespace quench
