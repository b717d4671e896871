// The GPU backend against the roofline: each operation at a shape of a 34B model, operands resident, medians of repeated
// runs, beside what the card's datasheet allows. Prints a table and, with --json FILE, the same as JSON; with --only TEXT
// what has TEXT in its name.
//
// A share of peak is against the bound that fits the operation: bytes it must move over the memory's bandwidth, or flops
// over the rate of the units it uses. Bandwidth is measured in the same run too (y += x over 2 GiB).
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/cuda_device.h"

namespace quench::kernels {
namespace {

using Clock = std::chrono::steady_clock;

// By name of the card: dense rates in TFLOP/s, GB/s. Datasheet numbers (SXM parts).
struct Peaks {
  const char* name;
  double fp32, tf32, bf16, gigabytes;
};
constexpr Peaks kPeaks[] = {{"H200", 67, 495, 990, 4800}, {"H100 PCIe", 51, 378, 756, 2000}, {"H100", 67, 495, 990, 3350},
                            {"A100", 19.5, 156, 312, 2039}};

struct Result {
  std::string name;
  double seconds = 0, spread = 0;  // median, and (largest - least) / median
  double teraflops = 0, gigabytes = 0, share = 0;
  std::string of;  // what the share is of
};

class Bench {
 public:
  Bench(Backend& backend, const Peaks& peaks, std::string only)
      : backend_(backend), peaks_(peaks), only_(std::move(only)), memory_(backend.memory()), flag_(64, memory_) {}

  bool wants(const std::string& name) const { return name.find(only_) != std::string::npos; }

  // `run(i)` is one operation; `repeats` of them are timed together, five times over, after one warm-up.
  void measure(const std::string& name, double flops, double bytes, double peak_teraflops, int repeats,
               const std::function<void(int)>& run) {
    run(0);
    wait();
    std::vector<double> seconds;
    for (int round = 0; round < 5; ++round) {
      const auto start = Clock::now();
      for (int i = 0; i < repeats; ++i) run(i);
      wait();
      seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count() / repeats);
    }
    std::sort(seconds.begin(), seconds.end());
    Result r{name, seconds[2], (seconds[4] - seconds[0]) / seconds[2], flops / seconds[2] / 1e12, bytes / seconds[2] / 1e9, 0, ""};
    const double by_flops = peak_teraflops > 0 ? r.teraflops / peak_teraflops : 0, by_bytes = r.gigabytes / peaks_.gigabytes;
    r.share = std::max(by_flops, by_bytes);
    r.of = by_flops > by_bytes ? "flops" : "bandwidth";
    std::printf("%-44s %10.3f ms  +-%4.1f%%  %8.2f TFLOP/s  %8.1f GB/s  %5.1f%% of %s\n", name.c_str(), r.seconds * 1e3,
                r.spread * 50, r.teraflops, r.gigabytes, r.share * 100, r.of.c_str());
    std::fflush(stdout);
    results.push_back(r);
  }
  // A copy to the host ends when everything before it has.
  void wait() { to_host(memory_, std::span<const float>(flag_.data(), 1)); }

  AlignedBuffer<float> random(std::int64_t count, float scale = 1.0f) {
    AlignedBuffer<float> buffer(static_cast<std::size_t>(count), memory_);
    std::mt19937 generator(++seed_);
    // A block of random values again and again: drawing gigabytes would take longer than measuring.
    std::vector<float> block(1 << 20);
    std::normal_distribution<float> normal(0.0f, scale);
    for (float& value : block) value = normal(generator);
    for (std::size_t i = 0; i < buffer.size(); i += block.size())
      std::memcpy(buffer.data() + i, block.data(), std::min(block.size(), buffer.size() - i) * sizeof(float));
    to_device(memory_, std::span<const float>(buffer.data(), buffer.size()));
    return buffer;
  }
  WeightPanels weights(WeightFormat format, std::int64_t rows, std::int64_t cols, std::int64_t group) {
    WeightPanels panels = WeightPanels::allocate(format, rows, cols, group, memory_);
    std::mt19937 generator(++seed_);
    for (std::size_t i = 0; i + 4 <= panels.panels.size(); i += 4) {
      // bf16 and f16 near 1; codes may be anything.
      const std::uint32_t word = format <= WeightFormat::bf16 ? (generator() & 0x80ff80ffu) | 0x3c003c00u : generator();
      std::memcpy(panels.panels.data() + i, &word, 4);
    }
    for (std::size_t i = 0; i < panels.scales.size(); ++i) panels.scales[i] = f32_to_f16(0.01f);
    for (std::size_t i = 0; i < panels.zeros.size(); ++i) panels.zeros[i] = 2;
    panels.to_device(memory_);
    return panels;
  }

  Backend& backend() { return backend_; }
  Memory* memory() { return memory_; }
  const Peaks& peaks() const { return peaks_; }
  std::vector<Result> results;

 private:
  Backend& backend_;
  const Peaks& peaks_;
  std::string only_;
  Memory* memory_;
  AlignedBuffer<float> flag_;
  std::uint32_t seed_ = 0;
};

void bandwidth(Bench& b) {
  const std::string name = "y += x, 1 GiB each";
  if (!b.wants(name)) return;
  constexpr std::int64_t rows = 16384, cols = 16384;
  const AlignedBuffer<float> x = b.random(rows * cols);
  AlignedBuffer<float> y = b.random(rows * cols);
  b.measure(name, 0, 12.0 * rows * cols, 0, 10, [&](int) {
    b.backend().add(ConstMatrixView(x.data(), rows, cols), MatrixView(y.data(), rows, cols));
  });
}

// Eight matrices in turn, so that no run finds its weights in the cache.
void decode(Bench& b, const char* name, WeightFormat format, int bits, std::int64_t rows) {
  constexpr std::int64_t n = 22016, k = 8192;
  const std::string title = std::string("decode ") + name + ", 22016 x 8192, batch " + std::to_string(rows);
  if (!b.wants(title)) return;
  const std::int64_t group = bits < 16 ? 128 : -1;
  std::vector<WeightPanels> sets;
  for (int i = 0; i < 8; ++i) sets.push_back(b.weights(format, n, k, group));
  const AlignedBuffer<float> x = b.random(rows * k);
  AlignedBuffer<float> y = b.random(rows * n);
  const double bytes = static_cast<double>(sets[0].bytes());
  b.measure(title, 2.0 * n * k * static_cast<double>(rows),
            bytes, b.peaks().fp32, 40, [&](int i) {
              b.backend().gemm(ConstMatrixView(x.data(), rows, k), sets[static_cast<std::size_t>(i % 8)].view(),
                               MatrixView(y.data(), rows, n));
            });
}

void product(Bench& b, const char* name, double peak, std::int64_t m, std::int64_t n, std::int64_t k, WeightFormat format, int repeats) {
  const std::string title = std::string(name) + ", " + std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k);
  if (!b.wants(title)) return;
  const WeightPanels w = b.weights(format, n, k, format <= WeightFormat::bf16 ? -1 : 128);
  const AlignedBuffer<float> x = b.random(m * k);
  AlignedBuffer<float> y = b.random(m * n);
  b.measure(title, 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k), 0, peak, repeats, [&](int) {
              b.backend().gemm(ConstMatrixView(x.data(), m, k), w.view(), MatrixView(y.data(), m, n));
            });
}

// Sums, factor and solve of one linear of K = `columns` inputs, as the quantizer calls them.
void layer(Bench& b, const char* unit, double peak, std::int64_t columns, bool solves) {
  constexpr std::int64_t tokens = 4096, leaf = 512, rows = 256;
  const std::string title = "layer of K " + std::to_string(columns) + ": ";
  if (!b.wants(title)) return;
  Backend& backend = b.backend();
  const AlignedBuffer<float> x = b.random(tokens * columns);
  std::vector<std::int32_t> exponents(static_cast<std::size_t>(columns), -126);
  const ConstMatrixView inputs(x.data(), tokens, columns);
  backend.column_exponents(inputs, exponents);
  const TrianglePanels layout{columns, 64};
  TriangleBuffer<std::int64_t> sums(layout, b.memory());
  const SumScale scale{tokens * 8, exponents};
  const double c = static_cast<double>(columns);
  b.measure(title + "hessian leaf of 512 (" + std::string(unit) + ")", c * c * leaf, 0, peak, 8,
            [&](int i) { backend.add_hessian_leaf(inputs.row_range(i % 8 * leaf, leaf), scale, layout, sums.panels()); });
  if (!solves) return;
  TriangleBuffer<float> h(layout, b.memory()), l(layout, b.memory());
  std::vector<float> pivots(static_cast<std::size_t>(columns));
  const std::vector<std::int32_t> order = factor_order({}, columns);
  const double damping = 0.5;
  std::int64_t failed = -1;
  b.measure(title + "build and factor", c * c * c / 3, 0, b.peaks().fp32, 1, [&](int) {
    for (std::int64_t p = 0; p < layout.count(); ++p)
      backend.build_factor_panel(layout, p, sums.panels(), scale, order, damping, l.panels()[p]);
    failed = factor_triangle(backend, layout, l.panels(), pivots.data());
  });
  if (failed >= 0) std::printf("the factor failed at column %lld\n", static_cast<long long>(failed));
  for (std::int64_t p = 0; p < layout.count(); ++p)
    backend.build_factor_panel(layout, p, sums.panels(), scale, order, 0.0, h.panels()[p]);
  const AlignedBuffer<float> w = b.random(rows * columns, 0.05f);
  AlignedBuffer<float> solved(static_cast<std::size_t>(rows * columns), b.memory());
  const GridSpec grid{4, 128, GridKind::symmetric, ScaleRule::range};
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(rows * columns)), zeros(static_cast<std::size_t>(rows * columns / 128));
  std::vector<std::uint16_t> scales(zeros.size());
  const ConstMatrixView weights(w.data(), rows, columns);
  b.measure(title + "solve 256 rows, 4 bits", c * c * static_cast<double>(rows), 0, b.peaks().fp32, 4, [&](int) {
    backend.solve_gptq(weights, {layout, l.panels(), pivots.data()}, grid, GroupRule::updated,
                       {codes.data(), scales.data(), zeros.data(), MatrixView(solved.data(), rows, columns), nullptr});
  });
  std::vector<double> top(rows), bottom(rows);
  b.measure(title + "losses of 256 rows", 2 * c * c * static_cast<double>(rows), 0, b.peaks().fp32 / 2, 2, [&](int) {
    backend.quadratic_losses(weights, ConstMatrixView(solved.data(), rows, columns), layout, h.panels(), top, bottom);
  });
}

void attention(Bench& b, std::int64_t tokens, std::int64_t past) {
  constexpr std::int64_t heads = 64, kv_heads = 8, dim = 128;
  const std::string title = "attention, " + std::to_string(tokens) + " tokens after " + std::to_string(past);
  if (!b.wants(title)) return;
  KvCache cache(kv_heads, dim, tokens + past, b.memory());
  const std::int64_t all = tokens + past;
  const AlignedBuffer<float> q = b.random(tokens * heads * dim), k = b.random(all * kv_heads * dim), v = b.random(all * kv_heads * dim);
  AlignedBuffer<float> out(static_cast<std::size_t>(tokens * heads * dim), b.memory());
  const KvSegment whole{&cache.view(), 0, all}, newest{&cache.view(), 0, tokens};
  b.backend().append_kv(ConstMatrixView(k.data(), all, kv_heads * dim), ConstMatrixView(v.data(), all, kv_heads * dim), {&whole, 1});
  const double pairs = static_cast<double>(tokens) * (static_cast<double>(past) + (static_cast<double>(tokens) + 1) / 2);
  b.measure(title, 4.0 * heads * dim * pairs,
            2.0 * static_cast<double>(all) * kv_heads * dim * 4, b.peaks().fp32, 5, [&](int) {
              b.backend().attention(ConstMatrixView(q.data(), tokens, heads * dim), {&newest, 1}, 0.09f,
                                    MatrixView(out.data(), tokens, heads * dim));
            });
}

int run(const std::string& json, const std::string& only) {
  const std::string card = cuda::open_cuda_device(0)->description();
  const Peaks* peaks = nullptr;
  for (const Peaks& p : kPeaks)
    if (peaks == nullptr && card.find(p.name) != std::string::npos) peaks = &p;
  if (peaks == nullptr) {
    std::printf("%s: no peaks are known for this card; shares are of an H100's\n", card.c_str());
    peaks = &kPeaks[2];
  }
  std::printf("%s\npeaks taken: %s: fp32 %.0f, tf32 %.0f, bf16 %.0f TFLOP/s, %.0f GB/s\n", card.c_str(), peaks->name,
              peaks->fp32, peaks->tf32, peaks->bf16, peaks->gigabytes);
  std::vector<Result> all;
  for (const bool exact : {false, true}) {
    const auto backend = make_cuda_backend({0, exact});
    Bench b(*backend, *peaks, only);
    std::printf("-- %s\n", std::string(backend->name()).c_str());
    if (!exact) {
      bandwidth(b);
      for (const std::int64_t rows : {1, 8}) {
        decode(b, "bf16", WeightFormat::bf16, 16, rows);
        decode(b, "8 bits", WeightFormat::q8, 8, rows);
        decode(b, "4 bits", WeightFormat::q4, 4, rows);
        decode(b, "3 bits", WeightFormat::q3, 3, rows);
        decode(b, "2 bits", WeightFormat::q2, 2, rows);
      }
      product(b, "gemm (tf32, bf16 weights)", peaks->tf32, 4096, 8192, 8192, WeightFormat::bf16, 5);
      product(b, "gemm (tf32, 4-bit weights)", peaks->tf32, 512, 22016, 8192, WeightFormat::q4, 5);
      layer(b, "split bf16, of bf16/3", peaks->bf16 / 3, 8192, true);
      layer(b, "split bf16, of bf16/3", peaks->bf16 / 3, 22016, true);
      attention(b, 2048, 0);
      attention(b, 1, 2047);
    } else {
      decode(b, "4 bits, exact", WeightFormat::q4, 4, 1);
      product(b, "gemm (exact)", peaks->fp32, 4096, 8192, 8192, WeightFormat::bf16, 3);
      layer(b, "exact", peaks->fp32, 8192, false);
      layer(b, "exact", peaks->fp32, 22016, false);
    }
    for (Result& r : b.results) {
      r.name = std::string(backend->name()) + ": " + r.name;
      all.push_back(r);
    }
  }
  if (json.empty()) return 0;
  std::ofstream out(json);
  out << "{\"card\": \"" << card << "\", \"peaks\": \"" << peaks->name << "\", \"results\": [";
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Result& r = all[i];
    out << (i == 0 ? "" : ",") << "\n  {\"name\": \"" << r.name << "\", \"seconds\": " << r.seconds << ", \"spread\": " << r.spread
        << ", \"teraflops_per_second\": " << r.teraflops << ", \"gigabytes_per_second\": " << r.gigabytes
        << ", \"share_of_peak\": " << r.share << ", \"share_of\": \"" << r.of << "\"}";
  }
  out << "\n]}\n";
  return out ? 0 : 1;
}

}  // namespace
}  // namespace quench::kernels

int main(int argc, char** argv) {
  std::string json, only;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--json") == 0) json = argv[i + 1];
    if (std::strcmp(argv[i], "--only") == 0) only = argv[i + 1];
  }
  try {
    return quench::kernels::run(json, only);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cuda_bench: %s\n", error.what());
    return 2;
  }
}
