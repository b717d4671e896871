// `quench bench decode`: tokens per second of the packed engine on a random model made in memory, at several batch
// sizes, beside the memory bandwidth measured in the same run. Speed depends on shapes alone, so weights are random.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "schemas/error.h"
#include "worker/build.h"
#include "worker/generate/batch_decoder.h"
#include "worker/model/arithmetic.h"
#include "worker/random_model.h"
#include "worker/stopwatch.h"
#include "worker/verbs.h"

namespace quench::worker {
namespace {

// Bytes per second that `threads` threads read from memory that no cache holds.
double read_bandwidth(int threads) {
  constexpr std::size_t words = std::size_t{64} << 20;  // 512 MiB a thread
  std::vector<std::vector<std::uint64_t>> memory(static_cast<std::size_t>(threads));
  std::vector<std::uint64_t> sums(memory.size());
  const auto on_all = [&](auto&& body) {
    std::vector<std::thread> running;
    for (std::size_t t = 0; t < memory.size(); ++t) running.emplace_back([&, t] { body(t); });
    for (std::thread& thread : running) thread.join();
  };
  on_all([&](std::size_t t) { memory[t].assign(words, 1); });
  std::vector<double> seconds;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const auto start = Clock::now();
    on_all([&](std::size_t t) {
      std::uint64_t parts[16] = {};
      for (std::size_t i = 0; i < words; i += 16)
        for (std::size_t j = 0; j < 16; ++j) parts[j] += memory[t][i + j];
      for (const std::uint64_t part : parts) sums[t] += part;
    });
    seconds.push_back(seconds_since(start));
  }
  for (const std::uint64_t sum : sums) QUENCH_CHECK(sum == 5 * words, sum, words);
  return static_cast<double>(memory.size() * words * sizeof(std::uint64_t)) / median(seconds);
}

struct Decoded {
  double tokens_per_second = 0;
  std::vector<std::vector<std::int32_t>> completions;  // by request
};

// Greedy decoding of `batch` sequences side by side. Steps with the prompts are not timed.
Decoded decode(Transformer& transformer, std::uint32_t batch, std::uint32_t tokens) {
  BatchDecoder decoder(transformer, [](std::int32_t) { return std::string(); },
                       {.sequences_max = batch, .rows_max = std::max<std::uint32_t>(512, batch)});
  for (std::uint32_t i = 0; i < batch; ++i)
    decoder.add({.id = i, .prompt = {static_cast<std::int32_t>(i + 2)}, .max_new_tokens = tokens});
  Decoded result;
  result.completions.resize(batch);
  std::vector<double> steps;
  decoder.step();
  while (decoder.pending() > 0) {
    const auto start = Clock::now();
    const std::vector<Completion> ended = decoder.step();
    steps.push_back(seconds_since(start));
    for (const Completion& completion : ended) result.completions.at(completion.id) = completion.tokens;
  }
  result.tokens_per_second = batch / median(steps);
  return result;
}

}  // namespace

int bench_decode(const ComputeOptions& compute, const BenchDecodeArguments& arguments) {
  ModelConfig config = arguments.config;
  check_shape(config);
  if (arguments.group_size == 0 || arguments.group_size < -1)
    throw Error(ErrorCode::bad_input, "--group-size " + std::to_string(arguments.group_size) +
                                          ": expected -1 (one group a row) or a number of columns");
  if (arguments.tokens < 2)
    throw Error(ErrorCode::bad_input, "--tokens " + std::to_string(arguments.tokens) + ": at least two are timed");
  const std::unique_ptr<kernels::Backend> backend = make_backend(compute.threads, compute.backend);
  set_arithmetic(*backend, compute.arithmetic);
  const std::string activations(to_string(compute.arithmetic));
  const std::string products(compute.arithmetic == Arithmetic::bf16 ? backend->bf16_products() : "fused multiply-adds");
  const double bandwidth = read_bandwidth(compute.threads);
  const std::unique_ptr<WeightSource> source = make_random_model(config, arguments.bits, arguments.group_size);
  Transformer transformer(*backend, *source);

  // What one token must read: the packed linears and the head; of the embedding a row.
  std::uint64_t parameters = 0;
  for (const NamedShape& tensor : model_tensors(config))
    if (tensor.shape.size() == 2) parameters += tensor.shape[0] * tensor.shape[1];
  parameters -= std::uint64_t{config.vocab_size} * config.hidden_size;
  const double read_bytes =
      static_cast<double>(transformer.weight_bytes()) - 2.0 * config.vocab_size * config.hidden_size;

  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  std::vector<std::vector<std::int32_t>> alone;
  for (const std::uint32_t batch : arguments.batches) {
    const Decoded decoded = decode(transformer, batch, arguments.tokens);
    // A completion is the same in every batch.
    for (std::size_t i = 0; i < std::min(alone.size(), decoded.completions.size()); ++i)
      if (alone[i] != decoded.completions[i])
        throw Error(ErrorCode::internal, "the completion of prompt " + std::to_string(i) + " differs at batch " +
                                             std::to_string(batch));
    if (alone.size() < decoded.completions.size()) alone = decoded.completions;
    nlohmann::ordered_json result{{"batch", batch},
                                  {"tokens_per_s", decoded.tokens_per_second},
                                  {"read_gbytes_per_s", read_bytes * decoded.tokens_per_second / batch / 1e9},
                                  {"share_of_bandwidth", read_bytes * decoded.tokens_per_second / batch / bandwidth}};
    if (!arguments.json)
      std::printf("batch %3u: %8.2f tokens/s, weights read at %.2f GB/s, %.0f %% of the bandwidth\n", batch,
                  decoded.tokens_per_second, result["read_gbytes_per_s"].get<double>(),
                  100 * result["share_of_bandwidth"].get<double>());
    results.push_back(std::move(result));
  }
  if (arguments.json)
    std::cout << nlohmann::ordered_json{{"parameters", parameters},
                                        {"bits", arguments.bits},
                                        {"group_size", arguments.group_size},
                                        {"activations", activations},
                                        {"products", products},
                                        {"weight_bytes_per_token", read_bytes},
                                        {"threads", compute.threads},
                                        {"backend", backend->name()},
                                        {"tokens", arguments.tokens},
                                        {"bandwidth_gbytes_per_s", bandwidth / 1e9},
                                        {"same_tokens_at_every_batch", true},
                                        {"batches", results}}
                     .dump(2)
              << "\n";
  else
    std::printf("%.3f G parameters at %u bits in groups of %d, %s activations (%s), %d threads (%s), %u tokens each, median "
                "step; memory reads %.2f GB/s; the same tokens at every batch size\n",
                static_cast<double>(parameters) / 1e9, arguments.bits, arguments.group_size, activations.c_str(), products.c_str(), compute.threads,
                std::string(backend->name()).c_str(), arguments.tokens, bandwidth / 1e9);
  return 0;
}

}  // namespace quench::worker
