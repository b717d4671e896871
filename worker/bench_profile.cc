#include "worker/bench_profile.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <tuple>
#include <utility>

#include "cluster/collective/local.h"
#include "schemas/error.h"
#include "schemas/machine_profile.h"
#include "worker/bench_block.h"
#include "worker/build.h"
#include "worker/energy/meter.h"
#include "worker/evaluate/grader.h"
#include "worker/generate/batch_decoder.h"
#include "worker/model/arithmetic.h"
#include "worker/quantize/hidden_states.h"
#include "worker/quantize/methods.h"
#include "worker/random_model.h"
#include "worker/stopwatch.h"
#include "worker/timed_collective.h"

namespace quench::worker {
namespace {

constexpr std::uint32_t kShortLeaf = 64;
constexpr std::int64_t kScratchRows = 4096, kScratchColumns = 2048;
constexpr std::uint32_t kDecodeLayers = 2, kDecodeSequences = 32, kDecodeTokens = 12, kDecodePrompt = 192;  // some context, as a benchmark has
constexpr int kPrograms = 48;
constexpr std::size_t kLinkBytes = 16 << 20;

// Together with the other ranks, as in a job.
double timed(cluster::Collective& gang, int repeats, const std::function<void()>& body) {
  std::vector<double> seconds;
  for (int i = 0; i < repeats; ++i) {
    gang.barrier("measure");
    const auto start = Clock::now();
    body();
    seconds.push_back(seconds_since(start));
  }
  return median(seconds);
}

ModelConfig shape_of(const std::string& text) {
  ModelConfig config;
  config.layers = 1;
  config.max_positions = 131'072;
  char end = 0;
  if (std::sscanf(text.c_str(), "%u:%u:%u:%u:%u%c", &config.hidden_size, &config.intermediate_size, &config.heads,
                  &config.kv_heads, &config.vocab_size, &end) != 5 ||
      config.hidden_size > 65'536 || config.intermediate_size > 262'144 || config.vocab_size < 128)
    throw Error(ErrorCode::bad_input,
                "--shape " + text + ": expected HIDDEN:INTERMEDIATE:HEADS:KVHEADS:VOCABULARY, as 2048:5632:32:8:32000");
  check_shape(config);
  return config;
}

std::string cpu_name() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("model name")) return line.substr(std::min(line.size(), line.find(':') + 2));
  return "unknown";
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  char text[16] = {};
  std::strftime(text, sizeof text, "%Y-%m-%d", std::gmtime(&now));
  return text;
}

// A curve's values in the order they were measured, several for one size included.
class CurveBuilder {
 public:
  // Work that took seconds: a rate is their sums' ratio.
  void add(double size, double work, double seconds) {
    Sum& sum = sums_[size];
    sum.work += work;
    sum.seconds += seconds;
  }
  RateCurve curve() const {
    RateCurve curve;
    for (const auto& [size, sum] : sums_)
      if (sum.seconds > 0) curve.points.emplace_back(size, sum.work / sum.seconds);
    return curve;
  }

 private:
  struct Sum {
    double work = 0, seconds = 0;
  };
  std::map<double, Sum> sums_;
};

// By kind of step of a block, in one arithmetic.
struct BlockRates {
  CurveBuilder forward, factor, solve;
};

class Profiler {
 public:
  Profiler(kernels::Backend& backend, cluster::Collective& gang, const ProfileArguments& arguments)
      : backend_(backend), timed_gang_(gang), arguments_(arguments) {
    profile_.ranks = gang.world();
    profile_.threads = static_cast<std::uint32_t>(backend.thread_count());
    for (const std::string& text : arguments.shapes) shapes_.push_back(shape_of(text));
  }

  MachineProfile run() {
    const BlockRates blocks = measure_blocks();
    profile_.factor_flops = blocks.factor.curve();
    profile_.layout_bytes_per_s = layout_bytes_ / layout_s_;
    profile_.fp32 = rates_of(blocks);
    measure_rounding();
    measure_scratch();
    measure_link();
    if (arguments_.evaluation) measure_sandbox();
    if (arguments_.bf16 && !backend_.bf16_products().empty()) {
      const ArithmeticScope arithmetic(backend_, Arithmetic::bf16);
      profile_.bf16 = rates_of(measure_blocks());
    }
    return profile_;
  }

 private:
  ArithmeticRates rates_of(const BlockRates& blocks) {
    ArithmeticRates rates;
    rates.forward_flops = blocks.forward.curve();
    rates.solve_flops = blocks.solve.curve();
    std::tie(rates.hessian_flops, rates.hessian_sums) = measure_hessians();
    if (arguments_.evaluation) rates.decode = measure_decoding();
    return rates;
  }

  BlockRates measure_blocks() {
    BlockRates rates;
    for (const ModelConfig& shape : shapes_) measure_one_block(shape, rates);
    return rates;
  }

  void measure_one_block(const ModelConfig& shape, BlockRates& rates) {
    // Small blocks are over too soon to be measured once.
    const std::uint32_t own = shape.hidden_size <= 512 ? 8 : shape.hidden_size <= 1024 ? 4 : 2;
    const std::uint32_t sequences = own * timed_gang_.world();
    make_s_per_byte(shape);
    for (int repeat = shape.hidden_size <= 512 ? 5 : 1; repeat > 0; --repeat) {
      timed_gang_.clear();
      const BlockMeasurement measured =
          measure_block(backend_, timed_gang_, shape, recipe_, sequences, arguments_.length);
      take_block(shape, own, measured, rates);
    }
  }

  void take_block(const ModelConfig& shape, std::uint32_t own_sequences, const BlockMeasurement& measured, BlockRates& rates) {
    const double own_tokens = double{1} * own_sequences * arguments_.length;
    double forward_s = 0, weights = 0, bytes_s = 0;
    for (const auto& [step, seconds] : measured.detail_s)
      if (step.starts_with("forward")) forward_s += seconds;
    const std::vector<LinearShape> linears = block_linears(shape, 0);
    for (std::uint32_t stage = 0; stage < 4; ++stage) {
      std::string names;
      double columns = 0, solve_flops = 0, waiting = 0;
      for (const LinearShape& linear : linears) {
        if (linear.stage != stage) continue;
        names += (names.empty() ? "" : ",") + linear.short_name;
        columns = linear.inputs;
        solve_flops += 3 * own_rows(linear) * columns * columns;
        weights += static_cast<double>(linear.outputs) * linear.inputs;
        waiting += timed_gang_.seconds("tiles " + linear.short_name);
        bytes_s += timed_gang_.seconds("weights " + linear.short_name);
      }
      rates.solve.add(columns, solve_flops, measured.detail_s.at("solve " + names) - waiting);
      const double factor_waiting = timed_gang_.seconds("factor panel " + names) +
                                    timed_gang_.seconds("factor status " + names) +
                                    timed_gang_.seconds("factor pivots " + names);
      rates.factor.add(columns, factor_flops(columns), measured.detail_s.at("factor " + names) - factor_waiting);
    }
    const double attention = 4 * own_tokens * (arguments_.length + 1) / 2.0 * shape.heads * shape.head_dim;
    rates.forward.add(shape.hidden_size, 2 * own_tokens * weights + attention, forward_s);
    const double read_s = measured.step_s.at("read") - bytes_s;
    layout_bytes_ += 2 * weights;
    layout_s_ += std::max(0.05 * read_s, read_s - 2 * weights / timed_gang_.world() * make_s_per_byte_);
  }

  double own_rows(const LinearShape& linear) const { return rows_of_busiest_rank(linear, timed_gang_.world()); }

  // What this rank computes of a factorization: its panels, not those that it waits for.
  double factor_flops(double columns) const {
    const kernels::TrianglePanels layout{static_cast<std::int64_t>(columns), kPanelWidth};
    double flops = 0;
    for (std::int64_t panel = timed_gang_.rank(); panel < layout.count(); panel += timed_gang_.world())
      flops += static_cast<double>(layout.elements(panel) * kPanelWidth) * static_cast<double>(1 + 2 * panel);
    return flops;
  }

  void make_s_per_byte(const ModelConfig& shape) {
    const std::unique_ptr<WeightSource> source = make_random_model(shape, 0, -1);
    const LinearShape linear = block_linears(shape, 0).at(5);
    std::vector<std::uint8_t> bytes(std::uint64_t{linear.outputs} * linear.inputs * 2);
    const double seconds = timed(timed_gang_, 1, [&] { source->read_bytes(linear.tensor, 0, bytes); });
    make_s_per_byte_ = seconds / static_cast<double>(bytes.size());
    profile_.make_bytes_per_s = 1 / make_s_per_byte_;
  }

  // Two lengths of leaves part what a token costs from what a leaf's sums cost: both rates. Ranks sum apart from each other.
  std::pair<RateCurve, RateCurve> measure_hessians() {
    CurveBuilder flops, sums;
    const std::unique_ptr<cluster::Collective> alone = cluster::make_local_collective();
    for (const ModelConfig& shape : shapes_)
      for (const std::uint32_t columns : {shape.hidden_size, shape.intermediate_size}) {
        const kernels::TrianglePanels layout{columns, kPanelWidth};
        const auto elements = static_cast<double>(layout.total_elements());
        const std::uint32_t leaves = columns <= 1024 ? 17 : 5;
        // Of one more leaf; what a Hessian costs once falls out.
        const auto leaf_s = [&](std::uint32_t tokens) {
          kernels::AlignedBuffer<float> memory(std::size_t{tokens} * leaves * columns);
          std::uint64_t random = 1;
          for (float& value : std::span(memory.data(), memory.size()))
            value = static_cast<float>((random = random * 6364136223846793005u + 1) >> 40) * 0x1p-23f - 1.0f;
          std::vector<kernels::ConstMatrixView> sequences;
          for (std::uint32_t i = 0; i < leaves; ++i)
            sequences.emplace_back(memory.data() + std::size_t{i} * tokens * columns, tokens, columns);
          const auto sum_s = [&](std::uint32_t count) {
            return timed(timed_gang_, columns <= 1024 ? 5 : 3, [&] {
              sum_hessian(backend_, *alone, std::span(sequences).first(count), columns, std::int64_t{tokens} * leaves,
                          false, "profile");
            });
          };
          const double all = sum_s(leaves), one = sum_s(1);
          return std::max(0.5 * all / leaves, (all - one) / (leaves - 1));
        };
        const auto length = static_cast<double>(std::min<std::uint32_t>(arguments_.length, kLeafTokens));
        const double whole = leaf_s(static_cast<std::uint32_t>(length)), part = leaf_s(kShortLeaf);
        const double token_s = length > kShortLeaf ? std::max(0.2 * whole / length, (whole - part) / (length - kShortLeaf))
                                                   : whole / length;
        flops.add(columns, 2 * elements, token_s);
        sums.add(columns, elements, std::max(0.02 * whole, whole - length * token_s));
      }
    return {flops.curve(), sums.curve()};
  }

  void measure_rounding() {
    const std::int64_t columns = shapes_.back().hidden_size, rows = 256;
    kernels::AlignedBuffer<float> weights(static_cast<std::size_t>(rows * columns));
    for (std::size_t i = 0; i < weights.size(); ++i) weights.data()[i] = static_cast<float>(i % 251) * 0.001f - 0.1f;
    QuantizeSpec rtn = recipe_;
    rtn.method = Method::rtn;
    const double seconds = timed(timed_gang_, 5, [&] {
      const SolvedTile tile =
          solve_tile(backend_, rtn, kernels::ConstMatrixView(weights.data(), rows, columns), nullptr, nullptr);
      sha256(tile.chunk);
    });
    profile_.round_weights_per_s = static_cast<double>(rows * columns) / seconds;
  }

  // Hidden states written as a job keeps them, and the same bytes read back as weights are.
  void measure_scratch() {
    const std::filesystem::path directory = arguments_.scratch / ("rank-" + std::to_string(timed_gang_.rank()));
    kernels::AlignedBuffer<float> states(static_cast<std::size_t>(kScratchRows * kScratchColumns));
    for (std::size_t i = 0; i < states.size(); ++i) states.data()[i] = static_cast<float>(i % 1021) * 0.01f;
    const kernels::ConstMatrixView view(states.data(), kScratchRows, kScratchColumns);
    HiddenStates kept(directory, {});
    const double bytes = static_cast<double>(states.size()) * sizeof(float);
    profile_.scratch_bytes_per_s = bytes / timed(timed_gang_, 3, [&] { kept.save(0, 0, view); });
    std::vector<std::uint8_t> back(states.size() * sizeof(float));
    profile_.read_bytes_per_s = bytes / timed(timed_gang_, 3, [&] {
      std::ifstream in(directory / "sequence-0-block-0", std::ios::binary);
      in.read(reinterpret_cast<char*>(back.data()), static_cast<std::streamsize>(back.size()));
      if (!in) throw Error(ErrorCode::failed, "cannot read back " + directory.string());
      check_finite(back, DType::bf16, 0, directory.string());
    });
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
  }

  void measure_link() {
    const std::uint32_t world = timed_gang_.world();
    if (world == 1) return;
    constexpr int messages = 300;
    std::uint64_t word = 0;
    const double seconds = timed(timed_gang_, 3, [&] {
      for (int i = 0; i < messages; ++i)
        cluster::broadcast_elements(timed_gang_, std::span(&word, 1), static_cast<std::uint32_t>(i) % world, "message");
    });
    std::uint32_t depth = 0;
    while ((1u << depth) < world) ++depth;
    profile_.message_s = seconds / messages / depth;
    std::vector<std::uint8_t> mine(kLinkBytes), all(kLinkBytes * world);
    const std::vector<std::size_t> counts(world, kLinkBytes);
    const double link_s = timed(timed_gang_, 5, [&] { timed_gang_.all_gather(mine, counts, all, "link"); });
    profile_.link_bytes_per_s = static_cast<double>(kLinkBytes * (world - 1)) / link_s;
  }

  double decode_step_s(Transformer& transformer, std::uint32_t sequences) {
    BatchDecoder decoder(transformer, [](std::int32_t) { return std::string(); },
                         {.sequences_max = sequences, .rows_max = 4096});
    for (std::uint32_t i = 0; i < sequences; ++i) {
      std::vector<std::int32_t> prompt(kDecodePrompt, static_cast<std::int32_t>(i + 2));
      decoder.add({.id = i, .prompt = std::move(prompt), .max_new_tokens = kDecodeTokens});
    }
    decoder.step();
    std::vector<double> steps;
    timed_gang_.barrier("decode");
    while (decoder.pending() > 0) {
      const auto start = Clock::now();
      decoder.step();
      steps.push_back(seconds_since(start));
    }
    return median(steps);
  }

  std::vector<DecodeRate> measure_decoding() {
    std::map<std::uint32_t, std::pair<RateCurve, RateCurve>> curves;
    for (ModelConfig shape : shapes_) {
      shape.layers = kDecodeLayers;
      double weights = static_cast<double>(shape.vocab_size) * shape.hidden_size;
      for (const LinearShape& linear : block_linears(shape, 0))
        weights += kDecodeLayers * static_cast<double>(linear.outputs) * linear.inputs;
      for (const std::uint32_t bits : {16u, 8u, 4u, 3u, 2u}) {
        const std::unique_ptr<WeightSource> source = make_random_model(shape, bits == 16 ? 0 : bits, 64);
        Transformer transformer(backend_, *source, 256);
        const double one = decode_step_s(transformer, 1), many = decode_step_s(transformer, kDecodeSequences);
        const double row = std::max(1e-3 * one, (many - one) / (kDecodeSequences - 1));
        auto& [base_s, row_s] = curves[bits];
        base_s.points.emplace_back(shape.hidden_size, std::max(1e-3 * one, one - row) / weights);
        row_s.points.emplace_back(shape.hidden_size, row / weights);
      }
    }
    std::vector<DecodeRate> rates;
    for (auto& [bits, both] : curves) rates.push_back({bits, both.first, both.second});
    return rates;
  }

  void measure_sandbox() {
    const ProblemSet problems = shipped_problems(Benchmark::humaneval);
    std::vector<Submission> submissions;
    for (int i = 0; i < kPrograms; ++i) {
      const Problem& problem = problems.problems().at(static_cast<std::size_t>(i));
      submissions.push_back({&problem, SubmissionForm::completion, problem.canonical_solution});
    }
    std::unique_ptr<Grader> grader;
    try {
      GraderOptions options;
      options.sandboxes = backend_.thread_count();
      grader = std::make_unique<Grader>(options);
    } catch (const Error& error) {
      std::cerr << "quench-worker: no sandbox here, so that executing programs is not measured: " << error.what() << "\n";
    }
    // Every rank must have one, or the barriers would not match.
    std::int32_t missing = grader ? 0 : 1;
    timed_gang_.all_reduce_max(std::span(&missing, 1), "sandboxes");
    if (missing > 0) return;
    profile_.programs_per_s = kPrograms / timed(timed_gang_, 3, [&] { grader->grade(submissions); });
  }

  kernels::Backend& backend_;
  TimedCollective timed_gang_;
  ProfileArguments arguments_;
  QuantizeSpec recipe_;
  std::vector<ModelConfig> shapes_;
  MachineProfile profile_;
  double make_s_per_byte_ = 0, layout_bytes_ = 0, layout_s_ = 0;
};

}  // namespace

int bench_profile(const ComputeOptions& compute, const ProfileArguments& arguments, cluster::Collective& gang) {
  const auto started = Clock::now();
  const std::unique_ptr<kernels::Backend> backend = make_backend(compute.threads, compute.backend);
  EnergyMeter energy(energy_meter_options());
  energy.begin();
  MachineProfile profile = Profiler(*backend, gang, arguments).run();
  const std::vector<EnergyReading> readings = energy.end();
  gang.barrier("profile done");
  if (gang.rank() != 0) return 0;
  const double seconds = seconds_since(started);
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  profile.host = host;
  profile.cpu = cpu_name();
  profile.date = today();
  profile.build = build_name();
  profile.backend = backend->name();
  profile.origin = "measured by quench bench profile";
  double joules = 0;
  for (const EnergyReading& reading : readings) joules += reading.joules;
  if (joules > 0) profile.watts = joules / seconds;
  profile.watts_note = joules > 0 ? "mean of the host's energy counters while it was measured" : energy.note();
  // The coordinator takes this off its own clock's time: what is left is starting and ending.
  profile.start_s = seconds;
  const std::filesystem::path file = arguments.scratch / "profile.json";
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out << profile_to_json(profile) << "\n";
  out.close();
  if (!out) throw Error(ErrorCode::failed, "cannot write " + file.string());
  return 0;
}

}  // namespace quench::worker
