// `quench bench layer`: one linear through one method, so that a peer can be run on the same file.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cluster/collective/local.h"
#include "schemas/error.h"
#include "schemas/model_config.h"
#include "schemas/safetensors.h"
#include "worker/build.h"
#include "worker/model/arithmetic.h"
#include "worker/model/linear.h"
#include "worker/model/weights.h"
#include "worker/quantize/aqlm/aqlm.h"
#include "worker/quantize/methods.h"
#include "worker/verbs.h"

namespace quench::worker {
namespace {

using kernels::AlignedBuffer;
using kernels::ConstMatrixView;

struct Matrix {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  AlignedBuffer<float> values;
  ConstMatrixView view() const { return {values.data(), rows, cols}; }
};

Matrix read_matrix(const std::filesystem::path& file, const SafetensorsHeader& header,
                   const std::string& name) {
  const auto found = header.tensors.find(name);
  if (found == header.tensors.end() || found->second.dtype != DType::f32 || found->second.shape.size() != 2)
    throw Error(ErrorCode::bad_input, file.string() + ": expected an F32 matrix \"" + name +
                                          "\" (W [N, K] the weights, X [T, K] the calibration inputs)");
  const TensorEntry& entry = found->second;
  Matrix matrix{static_cast<std::int64_t>(entry.shape[0]), static_cast<std::int64_t>(entry.shape[1]),
                AlignedBuffer<float>(entry.bytes / sizeof(float))};
  const int descriptor = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw errno_error(ErrorCode::bad_input, "cannot open " + file.string(), errno);
  auto* next = reinterpret_cast<std::uint8_t*>(matrix.values.data());
  std::uint64_t done = 0;
  while (done < entry.bytes) {
    const ssize_t got =
        ::pread(descriptor, next + done, entry.bytes - done, static_cast<off_t>(entry.file_offset + done));
    if (got <= 0) {
      const int cause = errno;
      ::close(descriptor);
      throw errno_error(ErrorCode::bad_input, "cannot read " + file.string(), got == 0 ? EIO : cause);
    }
    done += static_cast<std::uint64_t>(got);
  }
  ::close(descriptor);
  if (matrix.rows == 0 || matrix.cols == 0)
    throw Error(ErrorCode::bad_input, file.string() + ": \"" + name + "\" is empty");
  check_finite({reinterpret_cast<const std::uint8_t*>(matrix.values.data()), entry.bytes}, DType::f32, 0,
               file.string() + ": tensor " + name);
  return matrix;
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int bench_layer(const ComputeOptions& compute, const BenchLayerArguments& arguments) {
  if (arguments.recipe.method == Method::aqlm && arguments.recipe.group_size > 16)
    throw Error(ErrorCode::bad_input, "--group-size " + std::to_string(arguments.recipe.group_size) +
                                          ": expected 8 or 16 inputs for a code of aqlm");
  const QuantizeSpec recipe = with_fixed_settings(arguments.recipe);
  if (recipe.method == Method::aqlm && !(recipe.tolerance > 0 && recipe.tolerance < 1))
    throw Error(ErrorCode::bad_input, "--tolerance " + std::to_string(recipe.tolerance) +
                                          ": expected a relative gain between 0 and 1");
  if (recipe.group_size == 0 || recipe.group_size < -1)
    throw Error(ErrorCode::bad_input, "--group-size " + std::to_string(recipe.group_size) +
                                          ": expected -1 (one group a row) or a number of columns");
  if (!(recipe.damping > 0 && recipe.damping <= 1))
    throw Error(ErrorCode::bad_input, "--damping " + std::to_string(recipe.damping) +
                                          ": expected a share of the mean diagonal above 0 and at most 1");
  if (compute.arithmetic != Arithmetic::fp32 && recipe.method != Method::gptq)
    throw Error(ErrorCode::bad_input, "--arithmetic bf16: only gptq has it; leave it out");
  const SafetensorsHeader header = read_safetensors_header(arguments.input);
  const Matrix weights = read_matrix(arguments.input, header, "W");
  const Matrix inputs = read_matrix(arguments.input, header, "X");
  if (inputs.cols != weights.cols)
    throw Error(ErrorCode::bad_input, arguments.input.string() + ": W has " + std::to_string(weights.cols) +
                                          " inputs but X has " + std::to_string(inputs.cols));
  if (recipe.method == Method::aqlm) check_additive(recipe, weights.rows, weights.cols, arguments.input.string() + ": tensor W");
  const std::unique_ptr<kernels::Backend> backend = make_backend(compute.threads, compute.backend);
  set_arithmetic(*backend, compute.arithmetic);
  const std::unique_ptr<cluster::Collective> alone = cluster::make_local_collective();

  auto start = std::chrono::steady_clock::now();
  const ConstMatrixView one_sequence = inputs.view();
  const Hessian hessian = sum_hessian(*backend, *alone, std::span(&one_sequence, 1), weights.cols,
                                      inputs.rows, recipe.act_order, "layer");
  const double hessian_s = seconds_since(start);

  start = std::chrono::steady_clock::now();
  std::optional<Factor> factor;
  std::vector<Factor> starts;
  if (recipe.method == Method::aqlm)
    starts = factor_for_starts(*backend, *alone, hessian, "layer");
  else if (needs_calibration(recipe))
    factor = factor_hessian(*backend, *alone, hessian, recipe.damping, "layer");
  const double factor_s = seconds_since(start);
  const std::int64_t rows_per_tile =
      tile_rows(static_cast<std::uint32_t>(weights.rows), static_cast<std::uint32_t>(weights.cols));
  const std::int64_t rows_max = rows_solved_together(*backend, rows_per_tile, weights.cols);
  AlignedBuffer<float> dequantized(weights.values.size());
  int rounds = 0;
  if (recipe.method == Method::aqlm) {
    const LinearRows rows{weights.rows, weights.cols, [&](std::int64_t row, float* out) {
                            std::copy_n(weights.view().row(row), weights.cols, out);
                          }};
    const AdditiveSolution solution =
        solve_additive(*backend, *alone, recipe, weights.view(), rows, hessian, starts, "layer");
    Linear solved = Linear::additive(weights.rows, weights.cols, solution.shape,
                                     kernels::panel_count(weights.rows) * kernels::kPanelRows, solution.codebook_chunk());
    solved.set_tile(0, solution.tile_chunk(0, weights.rows));
    const std::vector<float> values = solved.dequantized();
    std::copy(values.begin(), values.end(), dequantized.data());
    rounds = solution.rounds;
  }
  for (std::int64_t row = recipe.method == Method::aqlm ? weights.rows : 0; row < weights.rows; row += rows_max) {
    const std::int64_t rows = std::min(rows_max, weights.rows - row);
    const std::span<float> into(dequantized.data() + row * weights.cols,
                                static_cast<std::size_t>(rows * weights.cols));
    solve_tiles(*backend, recipe, weights.view().row_range(row, rows), rows_per_tile,
                factor ? &hessian : nullptr, factor ? &*factor : nullptr, into);
  }
  const double solve_s = seconds_since(start);

  // The same measure for every method: H of these inputs, undamped.
  const std::vector<std::int32_t> order = kernels::factor_order(hessian.processing, weights.cols);
  AlignedBuffer<float> ordered(2 * weights.values.size());
  const kernels::MatrixView ordered_weights(ordered.data(), weights.rows, weights.cols);
  const kernels::MatrixView ordered_solved(ordered.data() + weights.values.size(), weights.rows,
                                           weights.cols);
  backend->gather_columns(weights.view(), order, ordered_weights);
  backend->gather_columns(ConstMatrixView(dequantized.data(), weights.rows, weights.cols), order,
                          ordered_solved);
  std::vector<double> losses(static_cast<std::size_t>(weights.rows)), energies(losses.size());
  backend->quadratic_losses(ordered_weights, ordered_solved, hessian.layout, hessian.values.panels(), losses,
                            energies);
  double loss = 0, energy = 0;
  for (std::size_t row = 0; row < losses.size(); ++row) {
    loss += losses[row];
    energy += energies[row];
  }
  const double relative_loss = energy > 0 ? loss / energy : 0;

  if (arguments.out) {
    SafetensorsWriter writer(
        *arguments.out,
        {{"W",
          DType::f32,
          {static_cast<std::uint64_t>(weights.rows), static_cast<std::uint64_t>(weights.cols)}}},
        {{"method", derived_name(recipe)}});
    writer.append(
        {reinterpret_cast<const std::uint8_t*>(dequantized.data()), dequantized.size() * sizeof(float)});
    writer.finish();
  }
  if (arguments.json) {
    nlohmann::ordered_json printed{{"method", derived_name(recipe)},
                                        {"rows", weights.rows},
                                        {"columns", weights.cols},
                                        {"tokens", inputs.rows},
                                        {"threads", compute.threads},
                                        {"backend", backend->name()},
                                        {"hessian_s", hessian_s},
                                        {"factor_s", factor_s},
                                        {"solve_s", solve_s},
                                        {"relative_loss", relative_loss}};
    if (recipe.method == Method::aqlm) printed["rounds"] = rounds;
    std::cout << printed.dump(2) << "\n";
  } else {
    std::printf(
        "%s  %lld x %lld, %lld tokens, %d threads (%s): hessian %.3f s, factor and solve with losses %.3f s (factor "
        "%.3f s), relative loss %.6g\n",
        derived_name(recipe).c_str(), static_cast<long long>(weights.rows),
        static_cast<long long>(weights.cols), static_cast<long long>(inputs.rows), compute.threads,
        std::string(backend->name()).c_str(), hessian_s, solve_s, factor_s, relative_loss);
  }
  return 0;
}

}  // namespace quench::worker
