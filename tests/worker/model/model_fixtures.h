// What the tests of the engine share: committed models and their references, models written on the
// spot (also broken ones), and artifacts whose chunks lie in memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "schemas/artifact.h"
#include "worker/model/transformer.h"
#include "worker/model/weights.h"

namespace quench::worker::test {

std::filesystem::path fixture(const std::string& name);

// Removed with everything in it at the end of its life.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string read_text(const std::filesystem::path& file);
void write_text(const std::filesystem::path& file, const std::string& text);

// What transformers computes in fp32 (tests/fixtures/README.md).
struct Reference {
  std::vector<std::int32_t> input_ids;
  std::int64_t vocabulary = 0;
  std::vector<float> logits;  // [input_ids.size(), vocabulary]
  std::vector<std::int32_t> greedy_ids;
};
Reference read_reference(const std::filesystem::path& file);

// A model as a test changes it before writing it down.
struct TestTensor {
  DType dtype = DType::f32;
  std::vector<std::uint64_t> shape;
  std::vector<std::uint8_t> bytes;
};
using TestModel = std::map<std::string, TestTensor>;
TestModel read_model(const WeightSource& source);
TestTensor f32_tensor(std::vector<std::uint64_t> shape, const std::vector<float>& values);
// config.json and model.safetensors.
void write_model(const std::filesystem::path& directory, const std::string& config, const TestModel& model);

// The config of a tiny model (hidden 32, 2 layers, 4 heads of 12, 2 kv heads, vocabulary 50, untied), and
// random fp32 weights for it.
std::string tiny_config();
TestModel tiny_model(std::uint32_t seed);
// Tiny models of the other families: tied heads; biases of q, k and v; and LayerNorms, biases everywhere, gelu and a window
// of 7 tokens.
std::string qwen2_config();
std::string starcoder2_config();
TestModel random_model(const std::string& config, std::uint32_t seed);

// Chunks by digest, as a store would hold them.
class MemoryChunks {
 public:
  ChunkRef put(std::vector<std::uint8_t> bytes);
  std::vector<std::uint8_t>& at(const Digest& digest) { return chunks_.at(digest); }
  ChunkReader reader() const;

 private:
  std::map<Digest, std::vector<std::uint8_t>> chunks_;
};

struct TestArtifact {
  Manifest manifest;
  MemoryChunks chunks;
};
enum class ColumnOrder { source, shuffled };
// Rounds every linear of the blocks to `bits` (bits 16: all tensors stay raw).
TestArtifact make_artifact(const std::filesystem::path& directory, kernels::Backend& backend,
                           std::uint32_t bits, std::int32_t group_size, ColumnOrder order);

// "emulated": the GPU's kernels on the host.
std::unique_ptr<kernels::Backend> backend_of(std::string_view isa, int threads = 1);

// Greedy continuation by a cache: `count` tokens after `prompt`.
std::vector<std::int32_t> greedy(Transformer& transformer, const std::vector<std::int32_t>& prompt,
                                 std::size_t count);
// Logits [tokens, vocabulary] of one prefill.
std::vector<float> prefill_logits(Transformer& transformer, const std::vector<std::int32_t>& tokens);

}  // namespace quench::worker::test
