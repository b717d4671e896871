#include "worker/quantize/aqlm/aqlm.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

#include "schemas/error.h"
#include "worker/quantize/aqlm/exact_totals.h"

namespace quench::worker {
namespace {

using kernels::AlignedBuffer;
using kernels::ConstMatrixView;
using kernels::MatrixView;

constexpr int kRoundsMax = 100;
constexpr int kGradientStepsMax = 16;
// Conjugate gradients end when a step gains less than this part of the tolerance.
constexpr double kStepShare = 0.1;
// Of H's mean diagonal, added to it: inputs that the calibration text never uses keep their weights near what they were.
constexpr double kHessianDamping = 1e-4;
// Of H's mean diagonal, added to it before it is factored for a start. With GPTQ's 0.01 the start may push errors into
// directions that the calibration text hardly uses, where no later round finds out again and other text suffers; with 1 it
// leaves much undone where few directions carry all that there is. After some rounds the better one is known.
constexpr std::array kStartDampings = {1.0, 0.01};
constexpr int kRoundsOfStart = 2;
// Of the mean diagonal, in what starts are judged by: the calibration text's loss alone does not tell them apart there.
constexpr double kJudgeDamping = 0.03;
constexpr int kSweepsOfSeveral = 2;  // over the codebooks of a group, where there are several

// H, damped, in column order, whole and dense: products with it are what all the time goes into.
AlignedBuffer<float> dense_hessian(const Hessian& hessian) {
  const std::int64_t columns = hessian.layout.columns;
  AlignedBuffer<float> dense(static_cast<std::size_t>(columns * columns));
  const double damping = kernels::damping(hessian.diagonal, kHessianDamping);
  for (std::int64_t b = 0; b < columns; ++b) {
    const std::int64_t panel = b / hessian.layout.width, j = columns - 1 - b;
    const float* values = hessian.values.panels()[panel];
    for (std::int64_t a = b; a < columns; ++a) {
      float value = values[hessian.layout.index(panel, a, b)];
      if (a == b) value = static_cast<float>(static_cast<double>(value) + damping);
      const std::int64_t i = columns - 1 - a;
      dense[static_cast<std::size_t>(i * columns + j)] = value;
      dense[static_cast<std::size_t>(j * columns + i)] = value;
    }
  }
  return dense;
}

std::vector<float> diagonal_blocks(const AlignedBuffer<float>& h, std::int64_t columns, int group) {
  std::vector<float> blocks;
  for (std::int64_t first = 0; first < columns; first += group)
    for (int i = 0; i < group; ++i)
      for (int d = 0; d < group; ++d) blocks.push_back(h[static_cast<std::size_t>((first + i) * columns + first + d)]);
  return blocks;
}

// H = U D Uᵀ with U unit upper block triangular, from the scalar factor H = (S+I) D' (S+I)ᵀ (hessian.h): a block
// column of U is that of S+I times the inverse of its diagonal block, and that block times D' times its transpose is D.
struct BlockFactor {
  AlignedBuffer<float> transposed;  // Uᵀ [K][K], its diagonal blocks 0
  std::vector<float> pivots;        // D [groups][group][group]
};
BlockFactor block_factor(const Factor& factor, int group) {
  const kernels::TrianglePanels& layout = factor.panels.layout();
  const std::int64_t columns = layout.columns;
  const auto feedback = [&](std::int64_t j, std::int64_t k) {  // S[j][k], j < k
    const std::int64_t a = columns - 1 - j, b = columns - 1 - k, panel = b / layout.width;
    return factor.panels.panels()[panel][layout.index(panel, a, b)];
  };
  BlockFactor result;
  result.transposed = AlignedBuffer<float>(static_cast<std::size_t>(columns * columns));
  std::fill(result.transposed.data(), result.transposed.data() + result.transposed.size(), 0.0f);
  std::vector<float> block(static_cast<std::size_t>(group * group));
  for (std::int64_t first = 0; first < columns; first += group) {
    for (int i = 0; i < group; ++i)
      for (int k = 0; k < group; ++k)
        block[static_cast<std::size_t>(i * group + k)] = i < k ? feedback(first + i, first + k) : i == k ? 1.0f : 0.0f;
    for (int i = 0; i < group; ++i)
      for (int k = 0; k < group; ++k) {
        double sum = 0;
        for (int d = std::max(i, k); d < group; ++d)
          sum += static_cast<double>(block[static_cast<std::size_t>(i * group + d)]) *
                 factor.pivots[static_cast<std::size_t>(columns - 1 - first - d)] * block[static_cast<std::size_t>(k * group + d)];
        result.pivots.push_back(static_cast<float>(sum));
      }
    for (std::int64_t row = 0; row < first; ++row) {
      float solved[16];
      for (int k = 0; k < group; ++k) {
        float value = feedback(row, first + k);
        for (int i = 0; i < k; ++i) value = std::fma(-solved[i], block[static_cast<std::size_t>(i * group + k)], value);
        solved[k] = value;
        result.transposed[static_cast<std::size_t>((first + k) * columns + row)] = value;
      }
    }
  }
  return result;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

class AdditiveSolver {
 public:
  AdditiveSolver(kernels::Backend& backend, cluster::Collective& gang, const QuantizeSpec& recipe, ConstMatrixView own,
                 const LinearRows& linear, const Hessian& hessian, const std::string& label)
      : kernels_(backend.codebooks()),
        gang_(gang),
        recipe_(recipe),
        label_(label),
        own_(own),
        total_rows_(linear.rows),
        lanes_(kernels::panel_count(own.rows) * kernels::kPanelRows),
        judge_damping_(kernels::damping(hessian.diagonal, kJudgeDamping)),
        h_(dense_hessian(hessian)),
        blocks_(diagonal_blocks(h_, own.cols, recipe.group_size)),
        weights_(static_cast<std::size_t>(lanes_ * own.cols)),
        panels_(weights_.size()),
        products_(weights_.size()),
        scales_(static_cast<std::size_t>(lanes_), 0.0f) {
    kernels::to_panels(own, weights_.data());
    for (std::int64_t row = 0; row < own.rows; ++row) scales_[static_cast<std::size_t>(row)] = row_scale(own.row(row), own.cols);
    shape_.rows = own.rows;
    shape_.cols = own.cols;
    shape_.codebooks = static_cast<int>(recipe.codebooks);
    shape_.bits = static_cast<int>(recipe.codebook_bits);
    shape_.code_bits = 16;
    shape_.group = recipe.group_size;
    codes_.assign(static_cast<std::size_t>(lanes_ * shape_.groups() * shape_.codebooks), 0);
    entries_ = start_codebooks(kernels_, gang, recipe, linear, label);
  }

  // Goes on from the start that is ahead after kRoundsOfStart rounds.
  void begin(std::span<const Factor> starts) {
    const State first = state();
    State best;
    double least = std::numeric_limits<double>::infinity();
    for (const Factor& start : starts) {
      take(first);
      choose_all(start);
      for (int round = 0; round < kRoundsOfStart; ++round) improve_once(residual_loss());
      const double judged = judged_loss();
      if (!best.entries.empty() && !(judged < least)) continue;
      least = judged;
      best = state();
    }
    take(best);
  }

  // Rounds, those of the start among them.
  int improve() {
    double before = std::numeric_limits<double>::infinity();
    for (int round = kRoundsOfStart;; ++round) {
      const double loss = residual_loss();
      if (round == kRoundsMax || !(loss > 0) || loss > (1 - recipe_.tolerance) * before) return round;
      before = loss;
      improve_once(loss);
    }
  }

  // Entries and scales become fp16, codes and scales follow.
  AdditiveSolution finish() {
    AdditiveSolution solution;
    solution.shape = {static_cast<std::uint32_t>(own_.rows), static_cast<std::uint32_t>(own_.cols), recipe_.codebooks,
                      recipe_.codebook_bits, static_cast<std::uint32_t>(recipe_.group_size)};
    for (float& value : entries_) {
      solution.codebook.push_back(half(value));
      value = kernels::f16_to_f32(solution.codebook.back());
    }
    fit_scales();
    round_scales();
    search(h_.data(), blocks_.data(), false);
    fit_scales();
    solution.scales = round_scales();
    for (std::size_t lane = static_cast<std::size_t>(own_.rows); lane < scales_.size(); ++lane)
      for (std::int64_t i = 0; i < shape_.groups() * shape_.codebooks; ++i)
        codes_[lane / 16 * static_cast<std::size_t>(shape_.groups() * shape_.codebooks) * 16 + static_cast<std::size_t>(i) * 16 + lane % 16] = 0;
    solution.entries = entries_;
    solution.codes = codes_;
    residual_loss();
    const auto rows = static_cast<std::size_t>(own_.rows);
    solution.losses.assign(losses_.begin(), losses_.begin() + static_cast<std::ptrdiff_t>(rows));
    solution.energies.assign(static_cast<std::size_t>(lanes_), 0.0);
    if (lanes_ > 0) {
      kernels_.products(h(), weights_.data(), y());
      kernels_.row_dots(weights_.data(), y(), solution.energies);
    }
    solution.energies.resize(rows);
    return solution;
  }

 private:
  struct State {
    std::vector<float> entries, scales;
    std::vector<std::uint16_t> codes;
  };
  State state() const { return {entries_, scales_, codes_}; }
  void take(const State& state) {
    entries_ = state.entries;
    scales_ = state.scales;
    codes_ = state.codes;
  }

  void choose_all(const Factor& factor) {
    const BlockFactor block = block_factor(factor, shape_.group);
    search(block.transposed.data(), block.pivots.data(), true);
    fit_scales();
  }

  void improve_once(double loss) {
    fit_codebooks(loss);
    fit_scales();
    search(h_.data(), blocks_.data(), false);
  }

  ConstMatrixView h() const { return {h_.data(), own_.cols, own_.cols}; }
  MatrixView y() { return {products_.data(), own_.cols, lanes_}; }

  kernels::AdditiveView view(const float* entries, const float* scales) const {
    kernels::AdditiveView view = shape_;
    view.codes = reinterpret_cast<const std::uint8_t*>(codes_.data());
    view.entries = entries;
    view.scales = scales;
    return view;
  }

  static std::uint16_t half(float value) {
    constexpr float kHalfMax = 65504.0f;
    return kernels::f32_to_f16(std::clamp(value, -kHalfMax, kHalfMax));
  }

  std::vector<std::uint16_t> round_scales() {
    std::vector<std::uint16_t> bits;
    for (float& scale : scales_) {
      bits.push_back(half(scale));
      scale = kernels::f16_to_f32(bits.back());
    }
    return bits;
  }

  void search(const float* coupling, const float* metric, bool feedback) {
    if (lanes_ == 0) return;
    kernels::CodebookSearch pass;
    pass.shape = view(entries_.data(), scales_.data());
    pass.codes = codes_.data();
    pass.weights = weights_.data();
    pass.residual = panels_.data();
    pass.coupling = coupling;
    pass.metric = metric;
    pass.sweeps = shape_.codebooks > 1 ? kSweepsOfSeveral : 1;
    pass.feedback = feedback;
    if (!feedback) kernels_.residual(pass.shape, weights_.data(), panels_.data());
    kernels_.search(pass);
  }

  // Leaves H Δᵀ in products_.
  void find_losses() {
    losses_.assign(static_cast<std::size_t>(lanes_), 0.0);
    if (lanes_ > 0) {
      kernels_.residual(view(entries_.data(), scales_.data()), weights_.data(), panels_.data());
      kernels_.products(h(), panels_.data(), y());
      kernels_.row_dots(panels_.data(), y(), losses_);
    }
  }

  double residual_loss() {
    find_losses();
    return exact_total(gang_, losses_, "loss " + label_);
  }

  // The loss with more of the mean diagonal in H: |Δ|² times it.
  double judged_loss() {
    find_losses();
    std::vector<double> judged = losses_;
    for (std::size_t lane = 0; lane < judged.size(); ++lane) {
      const float* residual = panels_.data() + lane / 16 * static_cast<std::size_t>(own_.cols) * 16 + lane % 16;
      double squares = 0;
      for (std::int64_t k = 0; k < own_.cols; ++k) squares += static_cast<double>(residual[k * 16]) * residual[k * 16];
      judged[lane] += judge_damping_ * squares;
    }
    return exact_total(gang_, judged, "judged loss " + label_);
  }

  void fit_scales() {
    if (lanes_ == 0) return;
    kernels_.residual(view(entries_.data(), nullptr), nullptr, panels_.data());
    kernels_.products(h(), panels_.data(), y());
    std::vector<double> own(static_cast<std::size_t>(lanes_)), cross(own.size());
    kernels_.row_dots(panels_.data(), y(), own);
    kernels_.row_dots(weights_.data(), y(), cross);
    for (std::size_t row = 0; row < scales_.size(); ++row)
      if (own[row] > 0) scales_[row] = static_cast<float>(cross[row] / own[row]);
  }

  // Conjugate gradients with the diagonal as preconditioner; products_ holds H Δᵀ.
  void fit_codebooks(double loss) {
    const auto totals = [&] {
      return entry_totals(kernels_, gang_, view(entries_.data(), scales_.data()), y(), scales_, total_rows_,
                          "codebooks " + label_);
    };
    std::vector<double> left = totals();
    std::vector<float> diagonal, squares;
    for (std::int64_t k = 0; k < own_.cols; ++k) diagonal.push_back(h_[static_cast<std::size_t>(k * own_.cols + k)]);
    for (const float scale : scales_) squares.push_back(scale * scale);
    const std::vector<double> weights =
        diagonal_totals(kernels_, gang_, view(entries_.data(), scales_.data()), diagonal, squares, total_rows_,
                        "codebook diagonal " + label_);
    std::vector<double> step(left.size()), preconditioned(left.size()), change(left.size(), 0.0);
    const auto precondition = [&] {
      for (std::size_t i = 0; i < left.size(); ++i) preconditioned[i] = weights[i] > 0 ? left[i] / weights[i] : 0.0;
    };
    precondition();
    step = preconditioned;
    double progress = dot(left, preconditioned);
    std::vector<float> direction(left.size());
    for (int iteration = 0; iteration < kGradientStepsMax && progress > 0; ++iteration) {
      for (std::size_t i = 0; i < step.size(); ++i) {
        direction[i] = static_cast<float>(step[i]);
        step[i] = direction[i];
      }
      if (lanes_ > 0) {
        kernels_.residual(view(direction.data(), scales_.data()), nullptr, panels_.data());
        kernels_.products(h(), panels_.data(), y());
      }
      const std::vector<double> applied = totals();
      const double curvature = dot(step, applied);
      if (!(curvature > 0)) break;
      const double length = progress / curvature;
      for (std::size_t i = 0; i < step.size(); ++i) {
        change[i] += length * step[i];
        left[i] -= length * applied[i];
      }
      if (length * progress < kStepShare * recipe_.tolerance * loss) break;
      precondition();
      const double next = dot(left, preconditioned);
      for (std::size_t i = 0; i < step.size(); ++i) step[i] = preconditioned[i] + next / progress * step[i];
      progress = next;
    }
    for (std::size_t i = 0; i < entries_.size(); ++i)
      entries_[i] = static_cast<float>(static_cast<double>(entries_[i]) + change[i]);
  }

  kernels::Codebooks& kernels_;
  cluster::Collective& gang_;
  const QuantizeSpec& recipe_;
  std::string label_;
  ConstMatrixView own_;
  std::int64_t total_rows_;
  std::int64_t lanes_;
  double judge_damping_;
  AlignedBuffer<float> h_;
  std::vector<float> blocks_;
  kernels::AdditiveView shape_;
  AlignedBuffer<float> weights_, panels_, products_;
  std::vector<float> scales_, entries_;
  std::vector<std::uint16_t> codes_;
  std::vector<double> losses_;
};

}  // namespace

void check_additive(const QuantizeSpec& recipe, std::int64_t rows, std::int64_t cols, const std::string& label) {
  std::string fault = additive_fault(recipe.codebooks, recipe.codebook_bits, recipe.group_size, static_cast<std::uint64_t>(cols));
  if (fault.empty())
    fault = sample_fault(recipe.codebook_bits, recipe.group_size, static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(cols));
  if (!fault.empty()) throw Error(ErrorCode::bad_input, label + " has " + fault);
}

std::vector<std::uint8_t> AdditiveSolution::codebook_chunk() const {
  std::vector<std::uint8_t> chunk(shape.codebook_bytes());
  QUENCH_CHECK(chunk.size() == codebook.size() * sizeof(std::uint16_t), chunk.size(), codebook.size());
  std::memcpy(chunk.data(), codebook.data(), chunk.size());
  return chunk;
}

std::vector<std::uint8_t> AdditiveSolution::tile_chunk(std::int64_t first, std::int64_t rows) const {
  AdditiveTileShape tile = shape;
  tile.rows = static_cast<std::uint32_t>(rows);
  std::vector<std::uint8_t> chunk(tile.bytes());
  const std::size_t panel_codes = std::size_t{tile.groups()} * tile.codebooks;  // sixteens
  const auto first_panel = static_cast<std::size_t>(first / kernels::kPanelRows);
  kernels::narrow_codes(codes.data() + first_panel * panel_codes * 16, static_cast<std::int64_t>(tile.panels() * panel_codes),
                        static_cast<int>(tile.bits), chunk.data());
  std::memcpy(chunk.data() + tile.code_bytes(), scales.data() + first_panel * 16, tile.scale_bytes());
  return chunk;
}

std::vector<Factor> factor_for_starts(kernels::Backend& backend, cluster::Collective& gang, const Hessian& hessian,
                                      const std::string& label) {
  std::vector<Factor> factors;
  for (const double damping : kStartDampings) factors.push_back(factor_hessian(backend, gang, hessian, damping, label));
  return factors;
}

AdditiveSolution solve_additive(kernels::Backend& backend, cluster::Collective& gang, const QuantizeSpec& recipe,
                                ConstMatrixView own, const LinearRows& linear, const Hessian& hessian,
                                std::span<const Factor> starts, const std::string& label) {
  check_additive(recipe, linear.rows, linear.cols, label);
  QUENCH_CHECK(hessian.processing.empty(), label);
  // The host computes with all of them.
  const kernels::TrianglePanels& layout = hessian.layout;
  for (std::int64_t panel = 0; panel < layout.count(); ++panel) {
    const auto elements = static_cast<std::size_t>(layout.elements(panel));
    kernels::to_host(backend.memory(), std::span(hessian.values.panels()[panel], elements));
    for (const Factor& start : starts)
      kernels::to_host(backend.memory(), std::span(start.panels.panels()[panel], elements));
  }
  AdditiveSolver solver(backend, gang, recipe, own, linear, hessian, label);
  solver.begin(starts);
  const int rounds = solver.improve();
  AdditiveSolution solution = solver.finish();
  solution.rounds = rounds;
  return solution;
}

}  // namespace quench::worker
