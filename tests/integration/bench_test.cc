// `quench bench`: layers that are odd in every way come out right or are refused with a clear error and exit code 2.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>

#include "tests/support/processes.h"

namespace quench::testing {
namespace {

using nlohmann::json;

struct Layer {
  std::int64_t rows = 20, columns = 70, tokens = 90;
  std::vector<float> weights, inputs;
};

Layer random_layer(std::int64_t rows, std::int64_t columns, std::int64_t tokens) {
  Layer layer{rows, columns, tokens, {}, {}};
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  for (std::int64_t i = 0; i < rows * columns; ++i) layer.weights.push_back(0.03f * normal(random));
  for (std::int64_t i = 0; i < tokens * columns; ++i) layer.inputs.push_back(normal(random));
  return layer;
}

void write_layer(const std::filesystem::path& file, const Layer& layer) {
  const std::size_t weight_bytes = layer.weights.size() * 4, input_bytes = layer.inputs.size() * 4;
  const std::string header =
      json{{"W", {{"dtype", "F32"}, {"shape", {layer.rows, layer.columns}}, {"data_offsets", {0, weight_bytes}}}},
           {"X", {{"dtype", "F32"}, {"shape", {layer.tokens, layer.columns}}, {"data_offsets", {weight_bytes, weight_bytes + input_bytes}}}}}
          .dump();
  const std::uint64_t length = header.size();
  std::ofstream out(file, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), sizeof length);
  out << header;
  out.write(reinterpret_cast<const char*>(layer.weights.data()), static_cast<std::streamsize>(weight_bytes));
  out.write(reinterpret_cast<const char*>(layer.inputs.data()), static_cast<std::streamsize>(input_bytes));
}

Finished bench(const Layer& layer, const std::vector<std::string>& words, const Environment& added = {}) {
  const ScratchDirectory scratch;
  write_layer(scratch / "layer.safetensors", layer);
  std::vector<std::string> command{quench_program(), "bench", "layer", "--input", scratch / "layer.safetensors", "--json"};
  command.insert(command.end(), words.begin(), words.end());
  return run(command, added);
}

double relative_loss(const Layer& layer, const std::vector<std::string>& words) {
  const Finished finished = bench(layer, words);
  EXPECT_EQ(finished.exit_code, 0) << finished.err;
  if (finished.exit_code != 0) return std::numeric_limits<double>::quiet_NaN();
  const json printed = json::parse(finished.out);
  for (const char* step : {"hessian_s", "factor_s", "solve_s"}) EXPECT_TRUE(printed.contains(step)) << step;
  return printed["relative_loss"];
}

// Four bits lose about a hundredth on inputs that share nothing; a wrong column would cost several times as much.
constexpr double kFourBits = 0.02;

TEST(BenchLayer, OddShapesAreSolved) {
  struct Case {
    std::int64_t rows, columns;
    std::string group;
  };
  for (const Case& c : {Case{1, 70, "32"}, Case{17, 1, "128"}, Case{5, 333, "128"}, Case{20, 70, "4096"},
                        Case{300, 129, "100"}, Case{20, 70, "-1"}}) {
    const double loss = relative_loss(random_layer(c.rows, c.columns, 600), {"--group-size", c.group});
    EXPECT_GE(loss, 0.0);
    EXPECT_LT(loss, kFourBits) << c.rows << " x " << c.columns << ", group " << c.group;
  }
}

TEST(BenchLayer, ColumnsOfZerosAndAHessianThatIsNotPositiveDefiniteAreSolved) {
  Layer layer = random_layer(20, 70, 600);
  for (std::int64_t t = 0; t < layer.tokens; ++t)
    for (const std::int64_t c : {0, 31, 69}) layer.inputs[static_cast<std::size_t>(t * layer.columns + c)] = 0;
  EXPECT_LT(relative_loss(layer, {"--group-size", "32"}), kFourBits);
  EXPECT_LT(relative_loss(layer, {"--group-size", "32", "--act-order"}), kFourBits);
  // Nine tokens for seventy columns and next to no damping: singular until more is added.
  EXPECT_LT(relative_loss(random_layer(20, 70, 9), {"--group-size", "32", "--damping", "1e-12"}), kFourBits);
  // Nothing known at all: every pivot will do, and nothing is lost.
  Layer silent = random_layer(20, 70, 9);
  std::fill(silent.inputs.begin(), silent.inputs.end(), 0.0f);
  EXPECT_EQ(relative_loss(silent, {"--group-size", "32"}), 0.0);
}

TEST(BenchLayer, CodebooksLoseLessWithMoreBits) {
  const Layer layer = random_layer(48, 64, 300);
  const auto loss = [&](const char* codebooks, const char* bits) {
    return relative_loss(layer, {"--method", "aqlm", "--codebooks", codebooks, "--codebook-bits", bits, "--group-size", "8"});
  };
  const double one = loss("1", "6"), two = loss("2", "6"), four = loss("4", "8");
  EXPECT_LT(two, 0.6 * one);
  EXPECT_LT(four, 0.1 * two);
  EXPECT_LT(one, 0.6);
}

TEST(BenchLayer, BadInputIsTold) {
  Layer bad_weight = random_layer(20, 70, 90), bad_input = bad_weight;
  bad_weight.weights[3 * 70 + 5] = std::numeric_limits<float>::quiet_NaN();
  for (std::int64_t t = 0; t < 90; ++t) bad_input.inputs[static_cast<std::size_t>(t * 70 + 7)] = std::numeric_limits<float>::infinity();
  const Layer good = random_layer(20, 70, 90);
  struct Case {
    const Layer& layer;
    std::vector<std::string> words;
    std::vector<std::string> told;
    Environment environment;
  };
  for (const Case& c : {Case{bad_weight, {}, {"layer.safetensors: tensor W", "215"}, {}},
                        Case{bad_input, {}, {"layer.safetensors: tensor X"}, {}},
                        Case{good, {"--group-size", "0"}, {"--group-size 0", "-1"}, {}},
                        Case{good, {"--group-size", "-7"}, {"--group-size -7", "-1"}, {}},
                        Case{good, {"--damping", "-1"}, {"--damping"}, {}},
                        Case{good, {"--bits", "5"}, {"--bits"}, {}},
                        Case{good, {"--method", "aqlm"}, {"layer.safetensors: tensor W", "70 inputs, which groups of 8"}, {}},
                        Case{good, {"--method", "aqlm", "--codebook-bits", "17"}, {"--codebook-bits"}, {}},
                        Case{good, {"--method", "aqlm", "--group-size", "7"}, {"groups of 7 inputs", "8 or 16"}, {}},
                        Case{good, {"--method", "aqlm", "--group-size", "128"}, {"--group-size 128", "8 or 16"}, {}},
                        Case{good, {"--method", "aqlm", "--tolerance", "0"}, {"--tolerance"}, {}},
                        Case{good, {}, {"avx1024", "scalar", "expected one of"}, {{"QUENCH_BACKEND", "avx1024"}}},
                        Case{good, {"--backend", "cuda9"}, {"cuda9", "scalar", "expected one of"}, {}}}) {
    const Finished finished = bench(c.layer, c.words, c.environment);
    EXPECT_EQ(finished.exit_code, 2) << finished.err;
    EXPECT_EQ(finished.out, "");
    for (const std::string& word : c.told) EXPECT_NE(finished.err.find(word), std::string::npos) << word << " in: " << finished.err;
  }
}

TEST(BenchDecode, TheTokensAreTheSameAtEveryBatchSizeAndRatesArePrinted) {
  const auto small = [](const char* kv_heads) {
    return std::vector<std::string>{quench_program(), "bench", "decode", "--json", "--hidden", "64", "--intermediate", "176",
                                    "--layers", "2", "--heads", "4", "--kv-heads", kv_heads, "--vocabulary", "300", "--tokens",
                                    "5", "--batch", "1", "3", "9", "--threads", "2"};
  };
  for (const char* bits : {"8", "4", "3", "2"}) {
    std::vector<std::string> command = small("2");
    command.insert(command.end(), {"--bits", bits, "--group-size", "32"});
    const Finished finished = run(command);
    ASSERT_EQ(finished.exit_code, 0) << finished.err;
    const json printed = json::parse(finished.out);
    // The verb ends with an error when a completion depends on its batch.
    EXPECT_TRUE(printed["same_tokens_at_every_batch"]);
    EXPECT_EQ(printed["batches"].size(), 3u);
    for (const json& batch : printed["batches"]) EXPECT_GT(batch["tokens_per_s"], 0);
    EXPECT_GT(printed["bandwidth_gbytes_per_s"], 0);
  }
  std::vector<std::string> in_bf16 = small("2");
  in_bf16.insert(in_bf16.end(), {"--group-size", "32", "--arithmetic", "bf16"});
  const Finished finished = run(in_bf16);
  ASSERT_EQ(finished.exit_code, 0) << finished.err;
  EXPECT_EQ(json::parse(finished.out)["activations"], "bf16");
  EXPECT_TRUE(json::parse(finished.out)["same_tokens_at_every_batch"]);
  const Finished refused = run(small("3"));
  EXPECT_EQ(refused.exit_code, 2) << refused.out;
  EXPECT_NE(refused.err.find("kv heads 3"), std::string::npos) << refused.err;
}

TEST(BenchBlock, EveryStepIsTimedAndTheLossDoesNotDependOnTheRanks) {
  const std::vector<std::string> words{"--threads", "1", "bench-block", "--json", "--hidden", "64", "--intermediate", "176",
                                       "--heads", "4", "--kv-heads", "2", "--sequences", "2", "--length", "96"};
  std::vector<std::string> alone{worker_program()}, pair{"mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2", worker_program()};
  alone.insert(alone.end(), words.begin(), words.end());
  pair.insert(pair.end(), words.begin(), words.end());
  const Finished one = run(alone), two = run(pair);
  ASSERT_EQ(one.exit_code, 0) << one.err;
  ASSERT_EQ(two.exit_code, 0) << two.err;
  const json first = json::parse(one.out), second = json::parse(two.out);
  EXPECT_EQ(first["ranks"], 1);
  EXPECT_EQ(second["ranks"], 2);
  EXPECT_EQ(first["mean_relative_loss"], second["mean_relative_loss"]);
  double steps = 0;
  for (const char* step : {"read", "forward", "hessian", "factor", "solve"}) {
    ASSERT_TRUE(first["steps_s"].contains(step)) << step;
    steps += first["steps_s"][step].get<double>();
  }
  EXPECT_NEAR(steps, first["total_s"].get<double>(), 0.1 * first["total_s"].get<double>() + 0.01);
  EXPECT_GT(first["peak_resident_gib_of_rank_0"], 0);
}

}  // namespace
}  // namespace quench::testing
