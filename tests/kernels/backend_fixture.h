// Every kernel test runs on each instruction set with one, two and three threads, on the GPU in exact arithmetic, and on
// the GPU's kernels emulated on the host, and is compared to the bit with the scalar backend on one thread. What this machine lacks is a visible skip, or a failure for the GPU when
// QUENCH_REQUIRE_CUDA=1.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "tests/kernels/emulated_device.h"

namespace quench::kernels {

struct BackendCase {
  std::string isa;
  int threads = 1;
};
inline void PrintTo(const BackendCase& c, std::ostream* out) { *out << c.isa << " x" << c.threads; }

class BackendTest : public ::testing::TestWithParam<BackendCase> {
 protected:
  void SetUp() override {
    reference = make_cpu_backend({1, "scalar"});
    const std::string& isa = GetParam().isa;
    if (isa.starts_with("emulated")) {
      EmulatedOptions options;
      if (isa.ends_with("backwards")) options.order = ThreadOrder::backwards;
      backend = make_emulated_backend(cuda::Arithmetic::exact, options);
      return;
    }
    if (isa.starts_with("cuda")) {
      if (gpu_is_there()) backend = make_cuda_backend({0, isa == "cuda_exact"});
      return;
    }
    const auto names = runnable_isas();
    if (std::find(names.begin(), names.end(), GetParam().isa) == names.end()) {
      GTEST_SKIP() << "this machine cannot run " << GetParam().isa;
    }
    backend = make_cpu_backend({GetParam().threads, GetParam().isa});
  }
  // A skip or a failure when not.
  static bool gpu_is_there() {
    if (cuda_device_count() > 0) return true;
    const char* required = std::getenv("QUENCH_REQUIRE_CUDA");
    const auto missing = [&] {
      if (required != nullptr && std::string(required) == "1") FAIL() << "QUENCH_REQUIRE_CUDA=1 but CUDA sees no GPU";
      GTEST_SKIP() << "CUDA sees no GPU on this machine";
    };
    missing();
    return false;
  }
  bool on_cpu() const { return !GetParam().isa.starts_with("emulated") && !GetParam().isa.starts_with("cuda"); }
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Backend> reference;
};

#define QUENCH_FOR_EVERY_BACKEND(Suite)                                                                \
  INSTANTIATE_TEST_SUITE_P(                                                                            \
      Isa, Suite,                                                                                      \
      ::testing::Values(BackendCase{"scalar", 2}, BackendCase{"avx2", 1}, BackendCase{"avx2", 2},      \
                        BackendCase{"avx512", 1}, BackendCase{"avx512", 2}, BackendCase{"avx512", 3},  \
                        BackendCase{"cuda_exact", 1}, BackendCase{"emulated", 1}),                     \
      [](const auto& instance) {                                                                       \
        return instance.param.isa + "_" + std::to_string(instance.param.threads);                      \
      })

// A matrix that owns its memory; rows are `stride` apart so that views with gaps are tested too.
struct Matrix {
  std::vector<float> values;
  std::int64_t rows = 0, cols = 0, stride = 0;
  Matrix(std::int64_t r, std::int64_t c, std::int64_t gap = 0)
      : values(static_cast<std::size_t>(r * (c + gap)), 0.0f), rows(r), cols(c), stride(c + gap) {}
  MatrixView view() { return {values.data(), rows, cols, stride}; }
  ConstMatrixView view() const { return {values.data(), rows, cols, stride}; }
  float& at(std::int64_t r, std::int64_t c) { return values[static_cast<std::size_t>(r * stride + c)]; }
  float at(std::int64_t r, std::int64_t c) const { return values[static_cast<std::size_t>(r * stride + c)]; }
};

inline Matrix random_matrix(std::int64_t rows, std::int64_t cols, std::uint32_t seed, float scale = 1.0f,
                            std::int64_t gap = 0) {
  Matrix m(rows, cols, gap);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) m.at(r, c) = normal(random);
  }
  return m;
}

template <typename T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

// Random codes and grids as panels.
struct PackedCase {
  std::vector<std::uint8_t> codes;
  std::vector<std::uint16_t> scales;
  std::vector<std::uint8_t> zeros;
  WeightPanels panels;
};
inline PackedCase random_packed(int bits, std::int64_t rows, std::int64_t cols, std::int64_t group_size,
                                std::uint32_t seed) {
  PackedCase c;
  std::mt19937 random(seed);
  const std::int64_t groups = group_count(cols, group_size);
  std::uniform_int_distribution<int> code(0, (1 << bits) - 1);
  std::uniform_real_distribution<float> scale(1e-6f, 0.1f);
  for (std::int64_t i = 0; i < rows * cols; ++i) c.codes.push_back(static_cast<std::uint8_t>(code(random)));
  for (std::int64_t i = 0; i < rows * groups; ++i) {
    c.scales.push_back(f32_to_f16(scale(random)));
    c.zeros.push_back(static_cast<std::uint8_t>(code(random)));
  }
  c.panels = WeightPanels::allocate(packed_format(bits), rows, cols, group_size);
  pack_codes(c.codes.data(), c.scales.data(), c.zeros.data(), c.panels);
  return c;
}

inline WeightPanels dense_panels(const Matrix& w) {
  WeightPanels panels = WeightPanels::allocate(WeightFormat::f32, w.rows, w.cols);
  pack_dense(w.values.data(), ElementType::f32, panels);
  return panels;
}

}  // namespace quench::kernels
