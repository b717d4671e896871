// Quantizing holds one block, not the model: what loading block after block takes at its peak.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "tests/worker/model/model_fixtures.h"
#include "worker/memory_use.h"

namespace quench::worker::test {
namespace {

// "VmHWM" (the peak since it was last reset) or "VmRSS" of this process, in bytes.
std::int64_t status_bytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key + ":")) return std::stoll(line.substr(key.size() + 1)) * 1024;
  return -1;
}

bool reset_peak() {
  std::ofstream clear("/proc/self/clear_refs");
  clear << "5";
  clear.flush();
  return static_cast<bool>(clear);
}

TEST(BlockMemory, LoadingBlockAfterBlockTakesTwoBlocksAtMost) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "the sanitizer keeps freed memory";
#endif
  return_large_buffers();  // as the worker does
  // Blocks of 31 MB: the kernel may reclaim and bring back some 10 MB of code between two looks.
  constexpr std::uint32_t kLayers = 5;
  const std::string text =
      R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 768,
    "intermediate_size": 2304, "max_position_embeddings": 64, "num_attention_heads": 8, "num_hidden_layers": 5,
    "num_key_value_heads": 8, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true,
    "torch_dtype": "float32", "vocab_size": 64})";
  const ModelConfig config = parse_model_config(text, "test");
  TemporaryDirectory directory;
  {
    TestModel model;
    for (const NamedShape& named : model_tensors(config)) {
      std::size_t values = 1;
      for (const std::uint64_t extent : named.shape) values *= extent;
      model.emplace(named.name, f32_tensor(named.shape, std::vector<float>(values, 0.25f)));
    }
    write_model(directory.path(), text, model);
  }
  const std::int64_t block_bytes = 4 * (4 * 768 * 768 + 3 * 768 * 2304);
  const auto source = open_model_directory(directory.path());
  if (!reset_peak()) GTEST_SKIP() << "/proc/self/clear_refs cannot be written here";
  const std::int64_t before = status_bytes("VmRSS");
  ASSERT_GT(before, 0);
  const std::int64_t files_before = status_bytes("RssFile");
  for (std::uint32_t layer = 0; layer < kLayers; ++layer) {
    const Block block = load_block(*source, layer);
    ASSERT_EQ(block.linears[kDown].inputs(), 2304);
  }
  // Code that the kernel had reclaimed and the loading brought back is no block.
  const std::int64_t files = std::max<std::int64_t>(0, status_bytes("RssFile") - files_before);
  const std::int64_t peak = status_bytes("VmHWM") - before - files;
  EXPECT_LT(peak, 2 * block_bytes);
  // The measurement sees memory at all.
  EXPECT_GT(peak, block_bytes / 4);
}

}  // namespace
}  // namespace quench::worker::test
