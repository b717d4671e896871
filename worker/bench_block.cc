// `quench bench block`: one block quantized from random weights, its time broken down by step and its peak memory.
#include "worker/bench_block.h"

#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>

#include "cluster/collective/local.h"
#include "schemas/error.h"
#include "worker/build.h"
#include "worker/model/arithmetic.h"
#include "worker/quantize/block_pipeline.h"
#include "worker/quantize/calibration.h"
#include "worker/quantize/no_sink.h"
#include "worker/random_model.h"
#include "worker/verbs.h"

namespace quench::worker {
namespace {

using Clock = std::chrono::steady_clock;

// Adds up the time between one step's name and the next.
class StepClock {
 public:
  explicit StepClock(BlockMeasurement& into) : into_(into) {}
  void begin(const std::string& step) {
    const auto now = Clock::now();
    if (!step_.empty()) {
      const double seconds = std::chrono::duration<double>(now - since_).count();
      into_.step_s[step_.substr(0, step_.find(' '))] += seconds;
      into_.detail_s[step_] += seconds;
    }
    step_ = step;
    since_ = now;
  }

 private:
  BlockMeasurement& into_;
  std::string step_;
  Clock::time_point since_;
};

}  // namespace

BlockMeasurement measure_block(kernels::Backend& backend, cluster::Collective& gang, const ModelConfig& config,
                               const QuantizeSpec& recipe, std::uint32_t sequences, std::uint32_t length) {
  const std::unique_ptr<WeightSource> source = make_random_model(config, 0, -1);
  const SequenceShare share = sequence_share(sequences, gang.rank(), gang.world());
  const std::int64_t rows = std::int64_t{share.count()} * length;
  kernels::AlignedBuffer<float> memory(static_cast<std::size_t>(rows) * config.hidden_size, backend.memory());
  const kernels::MatrixView hidden(memory.data(), rows, config.hidden_size);
  for (std::uint32_t i = 0; i < share.count(); ++i) {
    std::minstd_rand random(share.begin + i + 1);
    for (std::int64_t row = std::int64_t{i} * length; row < std::int64_t{i + 1} * length; ++row)
      for (std::int64_t c = 0; c < hidden.cols; ++c)
        hidden.row(row)[c] = static_cast<float>(random()) * 0x1p-30f - 1.0f + (c > 0 ? 0.7f * hidden.row(row)[c - 1] : 0.0f);
  }
  kernels::to_device(backend.memory(), hidden);
  const kernels::RopeTable rope =
      kernels::rope_table(config.head_dim, config.rope_theta, config.rope_linear_factor, length);

  NoSink sink;
  BlockMeasurement result;
  StepClock clock(result);
  gang.barrier("block");
  const auto start = Clock::now();
  clock.begin("read");
  const CalibratedBlock block =
      quantize_calibrated_block({backend, gang, *source, sink}, recipe, 0, rope, length,
                                std::int64_t{sequences} * length, hidden, [&](const std::string& step) { clock.begin(step); });
  gang.barrier("block done");
  clock.begin("");
  result.total_s = std::chrono::duration<double>(Clock::now() - start).count();
  for (const LinearLoss& loss : block.losses) result.mean_relative_loss += loss.relative_loss / static_cast<double>(block.losses.size());
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  result.peak_resident_bytes = static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
  return result;
}

int bench_block(const ComputeOptions& compute, const BenchBlockArguments& arguments, cluster::Collective& gang) {
  ModelConfig config = arguments.config;
  config.layers = 1;
  check_shape(config);
  if (arguments.sequences < gang.world())
    throw Error(ErrorCode::bad_input, "--sequences " + std::to_string(arguments.sequences) + ": expected at least one for each of " +
                                          std::to_string(gang.world()) + " ranks");
  if (arguments.length < 1 || arguments.length > config.max_positions)
    throw Error(ErrorCode::bad_input, "--length " + std::to_string(arguments.length) + ": expected 1 to " + std::to_string(config.max_positions));
  if (arguments.recipe.group_size == 0 || arguments.recipe.group_size < -1)
    throw Error(ErrorCode::bad_input, "--group-size " + std::to_string(arguments.recipe.group_size) +
                                          ": expected -1 (one group a row) or a number of columns");
  const std::unique_ptr<kernels::Backend> backend = make_backend(compute.threads, compute.backend);
  set_arithmetic(*backend, compute.arithmetic);
  const BlockMeasurement measured =
      measure_block(*backend, gang, config, arguments.recipe, arguments.sequences, arguments.length);
  if (gang.rank() != 0) return 0;
  const double gibibytes = static_cast<double>(measured.peak_resident_bytes) / (1024.0 * 1024 * 1024);
  if (arguments.json) {
    std::cout << nlohmann::ordered_json{{"method", derived_name(arguments.recipe)},
                                        {"hidden", config.hidden_size},
                                        {"intermediate", config.intermediate_size},
                                        {"heads", config.heads},
                                        {"kv_heads", config.kv_heads},
                                        {"sequences", arguments.sequences},
                                        {"length", arguments.length},
                                        {"ranks", gang.world()},
                                        {"threads", compute.threads},
                                        {"backend", backend->name()},
                                        {"total_s", measured.total_s},
                                        {"steps_s", measured.step_s},
                                        {"details_s", measured.detail_s},
                                        {"mean_relative_loss", measured.mean_relative_loss},
                                        {"peak_resident_gib_of_rank_0", gibibytes}}
                     .dump(2)
              << "\n";
    return 0;
  }
  std::printf("block of hidden %u, intermediate %u, %u heads, %u kv heads; %s; %u x %u tokens; %u ranks of %d threads (%s)\n",
              config.hidden_size, config.intermediate_size, config.heads, config.kv_heads,
              derived_name(arguments.recipe).c_str(), arguments.sequences, arguments.length, gang.world(), compute.threads,
              std::string(backend->name()).c_str());
  for (const auto& [step, seconds] : measured.detail_s) std::printf("  %-60s %9.3f s\n", step.c_str(), seconds);
  std::printf("  %-60s %9.3f s\nmean relative loss %.4g, peak resident memory of rank 0: %.2f GiB\n", "all", measured.total_s,
              measured.mean_relative_loss, gibibytes);
  return 0;
}

}  // namespace quench::worker
