// kernel_rates [--threads N] [--isa NAME] [--bf16] [--repeat N] [--cpu-time] WHAT...: how fast the kernels run on this machine,
// one line of JSON each, medians of the repeats. With --cpu-time seconds are those of this process's processor time a
// thread, which a busy machine spoils less; --bf16: gemm and hessian in products of bf16. WHAT is one of
//   peak                      fused multiply-adds in registers, and reading memory: what there is to be had
//   gemm:MxNxK[:f32|q4|q8|i8]  y[M, N] = x[M, K] Wᵀ; i8: x rounded to 8 bits, whole numbers
//   hessian:C                 leaves of 512 tokens
//   factor:C                  LDLᵀ
//   solve:RxC                 GPTQ of R rows, 4 bits in groups of 128
//   losses:RxC                the exact quadratic forms of R rows
//   solved-losses:RxC         those that follow from solving, for R rows
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kernels/backend.h"

namespace quench::kernels {
namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::ordered_json;

struct Options {
  int threads = 1;
  int repeats = 5;
  bool cpu_time = false;
  Products products = Products::fp32;
  std::string isa;
};

double median_seconds(const Options& options, const std::function<void()>& body) {
  body();  // first touch of memory, and the clock going up
  std::vector<double> seconds;
  for (int i = 0; i < options.repeats; ++i) {
    const auto start = Clock::now();
    const std::clock_t cpu = std::clock();
    body();
    seconds.push_back(options.cpu_time
                          ? static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC / options.threads
                          : std::chrono::duration<double>(Clock::now() - start).count());
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

// The median of the repeats beside the rate that follows from it.
void print(const Options& options, const std::string& what, double seconds, const char* unit, double amount) {
  std::printf("%s\n", ordered_json{{"what", what},
                                   {"products", options.products == Products::bf16 ? "bf16" : "fp32"},
                                   {"threads", options.threads},
                                   {"repeats", options.repeats},
                                   {options.cpu_time ? "median_cpu_s" : "median_s", seconds},
                                   {unit, amount / seconds / 1e9}}
                          .dump()
                          .c_str());
  std::fflush(stdout);
}

AlignedBuffer<float> random_floats(std::int64_t count, std::uint64_t seed) {
  AlignedBuffer<float> values(static_cast<std::size_t>(count));
  std::minstd_rand random(static_cast<std::minstd_rand::result_type>(seed));
  for (std::int64_t i = 0; i < count; ++i)
    values.data()[i] = static_cast<float>(random()) * 0x1p-31f - 0.5f;
  return values;
}

#define QUENCH_TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)

// Twelve independent chains of eight lanes: the most that one core multiplies and adds.
__attribute__((target("avx2,fma"))) void multiply_add(std::int64_t steps) {
  using Lanes = float __attribute__((vector_size(32)));
  Lanes sum[12] = {};
  Lanes x{}, y{};
  __asm__ volatile("" : "+x"(x), "+x"(y));
#define QUENCH_LOCAL(i) Lanes s##i = sum[i];
  QUENCH_TWELVE(QUENCH_LOCAL)
  for (std::int64_t step = 0; step < steps; ++step) {
#define QUENCH_STEP(i) __asm__ volatile("vfmadd231ps %1, %2, %0" : "+x"(s##i) : "x"(x), "x"(y));
    QUENCH_TWELVE(QUENCH_STEP)
  }
#define QUENCH_KEEP(i) __asm__ volatile("" : : "x"(s##i));
  QUENCH_TWELVE(QUENCH_KEEP)
}

__attribute__((target("avx2"))) void read_memory(const float* from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; i += 64) {
    __asm__ volatile(
        "vmovaps (%0), %%ymm0\n vmovaps 32(%0), %%ymm1\n vmovaps 64(%0), %%ymm2\n vmovaps 96(%0), %%ymm3\n"
        "vmovaps 128(%0), %%ymm4\n vmovaps 160(%0), %%ymm5\n vmovaps 192(%0), %%ymm6\n vmovaps 224(%0), %%ymm7"
        :
        : "r"(from + i)
        : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
  }
}

void on_threads(int count, const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int t = 1; t < count; ++t) threads.emplace_back(body, t);
  body(0);
  for (std::thread& thread : threads) thread.join();
}

void measure_peak(const Options& options) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return;
  constexpr std::int64_t steps = 20'000'000;
  const double seconds = median_seconds(
      options, [&] { on_threads(options.threads, [](int) { multiply_add(steps); }); });
  print(options, "peak of 256-bit fused multiply-add", seconds, "gflops",
        static_cast<double>(options.threads) * steps * 12 * 8 * 2);
  constexpr std::int64_t each = std::int64_t{1} << 27;  // floats: 512 MiB a thread
  AlignedBuffer<float> memory(static_cast<std::size_t>(each * options.threads));
  std::fill_n(memory.data(), memory.size(), 1.0f);
  const double reading = median_seconds(options, [&] {
    on_threads(options.threads, [&](int t) { read_memory(memory.data() + t * each, each); });
  });
  print(options, "reading memory", reading, "gbytes_per_s", 4.0 * static_cast<double>(memory.size()));
}

WeightPanels random_weights(const std::string& format, std::int64_t rows, std::int64_t cols) {
  if (format == "f32") {
    WeightPanels panels = WeightPanels::allocate(WeightFormat::f32, rows, cols);
    const AlignedBuffer<float> values = random_floats(rows * cols, 1);
    pack_dense(values.data(), ElementType::f32, panels);
    return panels;
  }
  WeightPanels panels =
      WeightPanels::allocate(packed_format(std::stoi(format.substr(1))), rows, cols, format == "i8" ? -1 : 128);
  std::mt19937 random(1);
  for (std::size_t i = 0; i < panels.panels.size(); ++i)
    panels.panels.data()[i] = static_cast<std::uint8_t>(random());
  std::fill_n(panels.scales.data(), panels.scales.size(), f32_to_f16(0.01f));
  std::fill_n(panels.zeros.data(), panels.zeros.size(), std::uint8_t{8});
  return panels;
}

void measure_gemm(const Options& options, Backend& backend, std::int64_t m, std::int64_t n, std::int64_t k,
                  const std::string& format) {
  const WeightPanels weights = random_weights(format, n, k);
  const AlignedBuffer<float> x = random_floats(m * k, 2);
  AlignedBuffer<float> y(static_cast<std::size_t>(m * n));
  const double seconds = median_seconds(options, [&] {
    const ConstMatrixView from(x.data(), m, k);
    const MatrixView to(y.data(), m, n);
    format == "i8" ? backend.integer_gemm(from, 0, weights.view(), to) : backend.gemm(from, weights.view(), to);
  });
  const std::string what = "gemm " + std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) + " " + format;
  print(options, what, seconds, "gflops", 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k));
  if (m == 1) print(options, what + ", bytes of weights", seconds, "gbytes_per_s", static_cast<double>(weights.bytes()));
}

// Random tokens that share a direction, so that there is something to feed back.
struct Sums {
  Sums(Backend& backend, std::int64_t columns, std::int64_t tokens)
      : layout{columns, 64},
        x(random_floats(tokens * columns, 3)),
        exponents(static_cast<std::size_t>(columns), -126),
        sums(layout) {
    for (std::int64_t t = 0; t < tokens; ++t)
      for (std::int64_t c = 1; c < columns; ++c) x.data()[t * columns + c] += 0.5f * x.data()[t * columns + c - 1];
    backend.column_exponents(view(tokens), exponents);
    scale = {tokens, exponents};
  }
  ConstMatrixView view(std::int64_t tokens) const { return {x.data(), tokens, layout.columns}; }
  TrianglePanels layout;
  AlignedBuffer<float> x;
  std::vector<std::int32_t> exponents;
  TriangleBuffer<std::int64_t> sums;
  SumScale scale;
};

void measure_hessian(const Options& options, Backend& backend, std::int64_t columns) {
  Sums s(backend, columns, 512);
  const double seconds = median_seconds(options, [&] {
    backend.add_hessian_leaf(s.view(512), s.scale, s.layout, s.sums.panels());
  });
  print(options, "hessian leaf of 512 tokens, " + std::to_string(columns) + " columns", seconds, "gflops",
        512.0 * static_cast<double>(columns) * static_cast<double>(columns + 1));
}

struct Factored {
  TriangleBuffer<float> hessian, panels;
  std::vector<float> pivots;
};

Factored build(Backend& backend, std::int64_t columns) {
  Sums s(backend, columns, 512);
  backend.add_hessian_leaf(s.view(512), s.scale, s.layout, s.sums.panels());
  Factored f{TriangleBuffer<float>(s.layout), TriangleBuffer<float>(s.layout),
             std::vector<float>(static_cast<std::size_t>(columns))};
  for (std::int64_t p = 0; p < s.layout.count(); ++p)
    backend.build_factor_panel(s.layout, p, s.sums.panels(), s.scale, {}, 0.01, f.hessian.panels()[p]);
  return f;
}

void refactor(Backend& backend, Factored& f) {
  std::copy_n(f.hessian.data(), f.hessian.size(), f.panels.data());
  if (factor_triangle(backend, f.hessian.layout(), f.panels.panels(), f.pivots.data()) >= 0) std::abort();
}

void measure_factor(const Options& options, Backend& backend, std::int64_t columns) {
  Factored f = build(backend, columns);
  const double seconds = median_seconds(options, [&] { refactor(backend, f); });
  const auto c = static_cast<double>(columns);
  print(options, "factor of " + std::to_string(columns) + " columns", seconds, "gflops", c * c * c / 3);
}

void measure_solve(const Options& options, Backend& backend, std::int64_t rows, std::int64_t columns) {
  Factored f = build(backend, columns);
  refactor(backend, f);
  const AlignedBuffer<float> w = random_floats(rows * columns, 4);
  const std::int64_t groups = group_count(columns, 128);
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(rows * columns)), zeros(static_cast<std::size_t>(rows * groups));
  std::vector<std::uint16_t> scales(zeros.size());
  AlignedBuffer<float> solved(static_cast<std::size_t>(rows * columns));
  GridSpec grid;
  grid.bits = 4;
  grid.group_size = 128;
  grid.kind = GridKind::symmetric;
  const SolveOutput out{codes.data(), scales.data(), zeros.data(), MatrixView(solved.data(), rows, columns), nullptr};
  const double seconds = median_seconds(options, [&] {
    backend.solve_gptq(ConstMatrixView(w.data(), rows, columns), {f.panels.layout(), f.panels.panels(), f.pivots.data()},
                       grid, GroupRule::updated, out);
  });
  print(options, "solve of " + std::to_string(rows) + "x" + std::to_string(columns), seconds, "gflops",
        static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(columns - 1));
}

void measure_losses(const Options& options, Backend& backend, std::int64_t rows, std::int64_t columns) {
  const Factored f = build(backend, columns);
  const AlignedBuffer<float> w = random_floats(rows * columns, 4), q = random_floats(rows * columns, 5);
  std::vector<double> losses(static_cast<std::size_t>(rows)), energies(losses.size());
  const double seconds = median_seconds(options, [&] {
    backend.quadratic_losses(ConstMatrixView(w.data(), rows, columns), ConstMatrixView(q.data(), rows, columns),
                             f.hessian.layout(), f.hessian.panels(), losses, energies);
  });
  print(options, "losses of " + std::to_string(rows) + "x" + std::to_string(columns), seconds, "gflops",
        2.0 * static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(columns));
}

void measure_solved_losses(const Options& options, Backend& backend, std::int64_t rows, std::int64_t columns) {
  const Factored f = build(backend, columns);
  AlignedBuffer<float> w = random_floats(rows * columns, 4), q = random_floats(rows * columns, 5);
  std::vector<double> damped(static_cast<std::size_t>(rows), 1.0), losses(damped.size()), energies(damped.size());
  SolveOutput solved;
  solved.dequantized = MatrixView(q.data(), rows, columns);
  solved.losses = damped.data();
  const double seconds = median_seconds(options, [&] {
    backend.solved_losses(ConstMatrixView(w.data(), rows, columns), rows, solved, 0.01, f.hessian.layout(), f.hessian.panels(),
                          losses, energies);
  });
  print(options, "solved losses of " + std::to_string(rows) + "x" + std::to_string(columns), seconds, "gops",
        static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(columns));
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == at) parts.emplace_back();
    else parts.back() += c;
  }
  return parts;
}

int measure(const Options& options, const std::vector<std::string>& wanted) {
  const auto backend = make_cpu_backend({options.threads, options.isa});
  if (!backend->set_products(options.products)) std::abort();
  for (const std::string& what : wanted) {
    const std::vector<std::string> parts = split(what, ':');
    std::vector<std::int64_t> sizes;
    if (parts.size() > 1)
      for (const std::string& size : split(parts[1], 'x')) sizes.push_back(std::stoll(size));
    if (parts[0] == "peak") measure_peak(options);
    else if (parts[0] == "gemm" && sizes.size() == 3)
      measure_gemm(options, *backend, sizes[0], sizes[1], sizes[2], parts.size() > 2 ? parts[2] : "f32");
    else if (parts[0] == "hessian" && sizes.size() == 1) measure_hessian(options, *backend, sizes[0]);
    else if (parts[0] == "factor" && sizes.size() == 1) measure_factor(options, *backend, sizes[0]);
    else if (parts[0] == "solve" && sizes.size() == 2) measure_solve(options, *backend, sizes[0], sizes[1]);
    else if (parts[0] == "losses" && sizes.size() == 2) measure_losses(options, *backend, sizes[0], sizes[1]);
    else if (parts[0] == "solved-losses" && sizes.size() == 2) measure_solved_losses(options, *backend, sizes[0], sizes[1]);
    else return std::fprintf(stderr, "kernel_rates: \"%s\": expected peak, gemm:MxNxK[:f32|q4], hessian:C, factor:C, solve:RxC, losses:RxC or solved-losses:RxC\n", what.c_str()), 2;
  }
  return 0;
}

}  // namespace
}  // namespace quench::kernels

int main(int argc, char** argv) {
  quench::kernels::Options options;
  std::vector<std::string> wanted;
  try {
    for (int i = 1; i < argc; ++i) {
      const std::string word = argv[i];
      if (word == "--threads" && i + 1 < argc) options.threads = std::stoi(argv[++i]);
      else if (word == "--repeat" && i + 1 < argc) options.repeats = std::stoi(argv[++i]);
      else if (word == "--isa" && i + 1 < argc) options.isa = argv[++i];
      else if (word == "--bf16") options.products = quench::kernels::Products::bf16;
      else if (word == "--cpu-time") options.cpu_time = true;
      else wanted.push_back(word);
    }
    return quench::kernels::measure(options, wanted);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kernel_rates: %s\n", error.what());
    return 2;
  }
}
