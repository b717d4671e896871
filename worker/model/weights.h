// Where a model's tensors come from: a Hugging Face directory, or an artifact's chunks. Nothing is kept:
// callers read one tensor, a range of its rows, or one packed tile at a time, so that quantizing holds one
// block in memory and a rank reads only its share. Every size is checked against the ModelConfig before a
// byte is read, and no NaN or Inf passes.
//
// A ModelDirectory may be read by several threads at once. ArtifactWeights remembers the last raw chunk
// and belongs to one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/tensor_view.h"
#include "schemas/artifact.h"
#include "schemas/model_config.h"
#include "schemas/safetensors.h"

namespace quench::worker {

// How one tensor is stored.
struct StoredTensor {
  TensorLayout layout = TensorLayout::raw;
  DType dtype = DType::f32;          // raw: f32, f16 or bf16
  std::vector<std::uint64_t> shape;  // of the source tensor: [rows, columns] or [columns]
  std::uint32_t bits = 0;            // packed only, as the next three
  std::int32_t group_size = -1;
  std::uint32_t rows_per_tile = 0;
  bool permuted = false;  // has a column permutation (act-order)
  std::uint32_t codebooks = 0;  // additive only
  Activations activations = Activations::none;  // packed only
  float activation_scale = 0;

  std::uint64_t rows() const { return shape.size() == 2 ? shape[0] : 1; }
  std::uint64_t columns() const { return shape.back(); }
  std::uint64_t tiles() const { return (rows() + rows_per_tile - 1) / rows_per_tile; }
};

class WeightSource {
 public:
  virtual ~WeightSource() = default;

  const ModelConfig& config() const { return config_; }
  bool has(const std::string& name) const { return tensors_.contains(name); }
  // Throws Error(bad_input) when the source does not hold it.
  const StoredTensor& tensor(const std::string& name) const;
  // "file model-00001-of-00002.safetensors, tensor model.norm.weight": for errors.
  virtual std::string place(const std::string& name) const = 0;

  // Raw tensors: bytes [offset, offset + out.size()) as stored, row-major, little-endian, unchecked.
  virtual void read_bytes(const std::string& name, std::uint64_t offset,
                          std::span<std::uint8_t> out) const = 0;
  // Packed and additive tensors: the bytes of row tile `tile` (schemas/packed_layout.h), digest, size and scales checked.
  virtual std::vector<std::uint8_t> read_tile(const std::string& name, std::uint64_t tile) const = 0;
  // Packed tensors: column k of the codes is column permutation[k] of the source; empty: identity.
  // Checked to be a permutation.
  virtual std::vector<std::int32_t> read_permutation(const std::string& name) const = 0;
  // Additive tensors: the fp16 codebooks, digest, size and values checked. Sources that hold none need not override it.
  virtual std::vector<std::uint8_t> read_codebooks(const std::string& name) const;

 protected:
  explicit WeightSource(const ModelConfig& config);
  // Checks type and shape against the config. Tensors the model does not have are left out, except
  // biases in its blocks that its family has not, which would change its results: those are refused.
  void add_tensor(const std::string& name, StoredTensor stored, const std::string& where);

 private:
  ModelConfig config_;
  std::map<std::string, std::vector<std::uint64_t>> expected_;
  std::map<std::string, StoredTensor> tensors_;
};

// Every tensor of the model by name and shape: the outer ones, then block by block.
std::vector<NamedShape> model_tensors(const ModelConfig& config);
// Throws Error(bad_input) naming the first tensor of the model that `source` lacks.
void check_complete(const WeightSource& source);

// A directory with config.json and model.safetensors or a sharded index. Throws Error(bad_input) naming
// file and tensor unless all tensors of the model are there in their shapes as F32, F16 or BF16.
std::unique_ptr<WeightSource> open_model_directory(const std::filesystem::path& directory);

// Fetches one chunk by its digest, from a store, a cache or the network. The caller checks the digest.
using ChunkReader = std::function<std::vector<std::uint8_t>(const ChunkRef&)>;

// A whole artifact: its config.json is read through `read_chunk`, and all tensors must be there.
std::unique_ptr<WeightSource> open_artifact(const Manifest& manifest, ChunkReader read_chunk);
// Some of an artifact's tensors, as a resuming gang finds them: not checked to be complete.
std::unique_ptr<WeightSource> open_tensor_records(const ModelConfig& config,
                                                  const std::vector<TensorRecord>& records,
                                                  ChunkReader read_chunk);
// The chunk `ref` names. Throws Error(corrupt) when size or digest differ.
std::vector<std::uint8_t> read_checked_chunk(const ChunkReader& read_chunk, const ChunkRef& ref);

// Rows [first_row, first_row + rows) of a raw tensor as stored, row-major; a 1-D tensor is one row. Throws
// Error(bad_input) naming tensor and flat index of the first value that is NaN or Inf.
std::vector<std::uint8_t> read_stored_rows(const WeightSource& source, const std::string& name,
                                           std::uint64_t first_row, std::uint64_t rows);
// The same as fp32.
std::vector<float> read_rows(const WeightSource& source, const std::string& name, std::uint64_t first_row,
                             std::uint64_t rows);
std::vector<float> read_tensor(const WeightSource& source, const std::string& name);

// F32, F16, BF16 as the kernels call them; anything else is a broken invariant.
kernels::ElementType element_type(DType dtype);
// Throws Error(bad_input) for the first of the values (stored as `dtype`) that is not finite;
// `first_index` is the flat index of the first one in its tensor.
void check_finite(std::span<const std::uint8_t> stored, DType dtype, std::uint64_t first_index,
                  const std::string& place);

}  // namespace quench::worker
