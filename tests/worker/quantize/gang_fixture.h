// A whole artifact quantized by a gang of threads into a store in memory.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <optional>

#include "cluster/collective/thread_gang.h"
#include "schemas/error.h"
#include "tests/kernels/emulated_device.h"
#include "tests/support/processes.h"
#include "worker/quantize/quantizer.h"

namespace quench::worker {

// A coordinator in memory: what it committed, what it was told, and when it dies.
struct Store {
  std::mutex mutex;
  std::map<Digest, std::vector<std::uint8_t>> chunks;
  std::optional<OuterDone> outer;
  std::vector<BlockDone> blocks;
  std::optional<ArtifactDone> done;
  std::vector<std::string> steps, lines;  // "1: hessian …" of block 1, and what was logged
  std::optional<std::uint32_t> die_at_block;
  std::string die_at_step;  // the beginning of one
};

class MemorySink : public ShardSink {
 public:
  explicit MemorySink(Store& store) : store_(store) {}
  void put_chunk(const Digest& digest, std::vector<std::uint8_t> bytes) override {
    const std::lock_guard lock(store_.mutex);
    EXPECT_EQ(sha256(bytes), digest);
    store_.chunks[digest] = std::move(bytes);
  }
  void wait_until_stored() override {}
  void commit_outer(const OuterDone& done) override { store_.outer = done; }
  void commit_block(const BlockDone& done) override {
    if (store_.die_at_block == done.block) throw Error(ErrorCode::interrupted, "the coordinator died");
    ASSERT_EQ(done.block, store_.blocks.size());
    store_.blocks.push_back(done);
  }
  void finish_artifact(const ArtifactDone& done) override { store_.done = done; }
  void report_step(std::uint32_t, std::uint32_t block, const std::string& step) override {
    store_.steps.push_back(std::to_string(block) + ": " + step);
    if (!store_.die_at_step.empty() && store_.steps.back().starts_with(store_.die_at_step))
      throw Error(ErrorCode::interrupted, "the coordinator died");
  }
  void log(const std::string& line) override { store_.lines.push_back(line); }

 private:
  Store& store_;
};

// Windows of tokens under `vocabulary`, the same every time.
inline CalibrationSet windows(std::int32_t sequences, std::uint32_t length, std::int32_t stride, std::int32_t vocabulary) {
  CalibrationSet set;
  set.length = length;
  for (std::int32_t s = 0; s < sequences; ++s) {
    auto& sequence = set.sequences.emplace_back();
    for (std::int32_t t = 0; t < static_cast<std::int32_t>(length); ++t)
      sequence.push_back((s * stride + t * t * 7 + 3) % vocabulary);
  }
  set.digest = sha256("windows");
  return set;
}
// For the tiny model of the engine's tests.
inline CalibrationSet tiny_windows() { return windows(6, 20, 31, 50); }

inline QuantizeOrder order_of(const std::string& model, const QuantizeSpec& recipe, const testing::ScratchDirectory& scratch) {
  QuantizeOrder order;
  order.job.name = "job";
  order.job.model = model;
  order.job.baseline = false;
  order.job.quantize = {recipe};
  order.job_id = sha256("job");
  order.source = sha256("source");
  order.scratch_dir = scratch / "hidden";
  return order;
}

inline void run_gang(std::uint32_t ranks, const QuantizeOrder& order, const CalibrationSet& calibration, Store& store,
                     const std::string& isa = "", int threads = 1) {
  cluster::run_thread_gang(ranks, {}, [&](cluster::Collective& gang) {
    const auto backend = isa == "emulated" ? kernels::make_emulated_backend(kernels::cuda::Arithmetic::exact)
                                           : kernels::make_cpu_backend({threads, isa});
    const auto source = open_model_directory(order.job.model);
    MemorySink sink(store);
    quantize_artifact({*backend, gang, *source, sink}, order, calibration, [&](const ChunkRef& chunk) {
      const std::lock_guard lock(store.mutex);
      const auto found = store.chunks.find(chunk.digest);
      if (found == store.chunks.end()) throw Error(ErrorCode::corrupt, "no chunk " + chunk.digest.short_hex());
      return found->second;
    });
  });
}

// The model that a gang has quantized; `store` outlives it.
inline std::unique_ptr<WeightSource> model_of(const Store& store, const ModelConfig& config) {
  std::vector<TensorRecord> records = store.outer->tensors;
  for (const BlockDone& block : store.blocks) records.insert(records.end(), block.tensors.begin(), block.tensors.end());
  return open_tensor_records(config, records, [&store](const ChunkRef& chunk) { return store.chunks.at(chunk.digest); });
}

// Everything an artifact's digest covers.
enum class Losses { covered, left_out };
inline std::string fingerprint(const Store& store, Losses losses = Losses::covered) {
  Hasher hasher;
  const auto add = [&](const TensorRecord& tensor) {
    hasher.update(tensor.name).update_u64(tensor.bits);
    for (const ChunkRef& chunk : tensor.chunks) hasher.update(chunk.digest.span());
    hasher.update(tensor.permutation.digest.span()).update(std::to_string(tensor.activation_scale));
  };
  for (const TensorRecord& tensor : store.outer->tensors) add(tensor);
  for (const BlockDone& block : store.blocks) {
    for (const TensorRecord& tensor : block.tensors) add(tensor);
    if (losses == Losses::covered)
      for (const LinearLoss& loss : block.losses)
        hasher.update(loss.tensor)
            .update(std::to_string(loss.loss))
            .update(std::to_string(loss.relative_loss));
  }
  return hasher.finish().hex();
}

}  // namespace quench::worker
