#include "worker/quantize/hessian.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "schemas/error.h"

namespace quench::worker {
namespace {

using kernels::ConstMatrixView;
using kernels::MatrixView;
using kernels::SumScale;
using kernels::TriangleBuffer;
using kernels::TrianglePanels;

constexpr std::int32_t kLeastExponent = -126;
constexpr double kDampingGrowth = 10.0;

std::uint32_t panel_owner(std::int64_t panel, std::uint32_t world) {
  return static_cast<std::uint32_t>(panel % world);
}

// The sums' memory with each rank's panels side by side, as a reduce-scatter wants them.
struct OwnedSums {
  OwnedSums(const TrianglePanels& layout, std::uint32_t world, kernels::Memory* where)
      : counts(world, 0), memory(static_cast<std::size_t>(layout.total_elements()), where) {
    if (where != nullptr)
      where->zero_device(memory.data(), memory.size() * sizeof(std::int64_t));
    else
      std::fill(memory.data(), memory.data() + memory.size(), std::int64_t{0});
    std::int64_t* next = memory.data();
    panels.resize(static_cast<std::size_t>(layout.count()));
    for (std::uint32_t owner = 0; owner < world; ++owner)
      for (std::int64_t panel = owner; panel < layout.count(); panel += world) {
        panels[static_cast<std::size_t>(panel)] = next;
        next += layout.elements(panel);
        counts[owner] += static_cast<std::size_t>(layout.elements(panel));
      }
  }
  std::span<std::int64_t> all() { return {memory.data(), memory.size()}; }
  std::span<std::int64_t> of(std::uint32_t rank) {
    std::size_t begin = 0;
    for (std::uint32_t r = 0; r < rank; ++r) begin += counts[r];
    return all().subspan(begin, counts[rank]);
  }
  std::vector<std::size_t> counts;
  kernels::AlignedBuffer<std::int64_t> memory;
  std::vector<std::int64_t*> panels;
};

// A maximum does not see NaN, and an infinite sum would poison every column.
void check_inputs(kernels::Backend& backend, ConstMatrixView input, const std::string& label) {
  if (backend.all_finite(input)) return;
  kernels::to_host(backend.memory(), input);
  for (std::int64_t row = 0; row < input.rows; ++row) {
    const float* values = input.row(row);
    for (std::int64_t column = 0; column < input.cols; ++column)
      if (!std::isfinite(values[column]))
        throw Error(ErrorCode::bad_input, label + ": input " + std::to_string(column) +
                                              " is not finite on the calibration text: the model overflows");
  }
}

std::vector<std::int32_t> exponents_of(kernels::Backend& backend, cluster::Collective& gang,
                                       std::span<const ConstMatrixView> inputs, std::int64_t columns,
                                       const std::string& label) {
  std::vector<std::int32_t> exponents(static_cast<std::size_t>(columns), kLeastExponent);
  for (const ConstMatrixView& input : inputs) {
    check_inputs(backend, input, label);
    backend.column_exponents(input, exponents);
  }
  gang.all_reduce_max(exponents, "exponents " + label);
  return exponents;
}

// Adds the leaves of this rank's sequences, columns gathered into `order` (empty: as they are).
void add_leaves(kernels::Backend& backend, std::span<const ConstMatrixView> inputs, const SumScale& scale,
                const TrianglePanels& layout, std::span<const std::int32_t> order,
                std::int64_t* const* sums) {
  for (const ConstMatrixView& input : inputs) backend.add_hessian_leaves(input, kLeafTokens, order, scale, layout, sums);
}

// The owner's elements on every rank, where its backend computes.
void send_from_owner(kernels::Backend& backend, cluster::Collective& gang, std::span<float> elements, std::uint32_t owner,
           const std::string& label) {
  if (gang.rank() == owner) kernels::to_host(backend.memory(), elements);
  cluster::broadcast_elements(gang, elements, owner, label);
  if (gang.rank() != owner) kernels::to_device(backend.memory(), elements);
}

// Makes every rank's fp32 panels whole: each panel comes from its owner.
void share_panels(kernels::Backend& backend, cluster::Collective& gang, TriangleBuffer<float>& values,
                  const std::string& label) {
  if (gang.world() == 1) return;
  const TrianglePanels& layout = values.layout();
  for (std::int64_t panel = 0; panel < layout.count(); ++panel)
    send_from_owner(backend, gang, std::span(values.panels()[panel], static_cast<std::size_t>(layout.elements(panel))),
          panel_owner(panel, gang.world()), "hessian panel " + label);
}

// The diagonal of whole fp32 panels by factor position.
std::vector<double> panel_diagonal(kernels::Memory* memory, const TriangleBuffer<float>& values) {
  const TrianglePanels& layout = values.layout();
  for (std::int64_t panel = 0; panel < layout.count(); ++panel)
    kernels::to_host(memory, std::span(values.panels()[panel],
                                       static_cast<std::size_t>(layout.column_count(panel) * layout.width)));
  std::vector<double> diagonal(static_cast<std::size_t>(layout.columns));
  for (std::int64_t column = 0; column < layout.columns; ++column) {
    const std::int64_t panel = column / layout.width;
    diagonal[static_cast<std::size_t>(column)] = values.panels()[panel][layout.index(panel, column, column)];
  }
  return diagonal;
}

}  // namespace

Hessian sum_hessian(kernels::Backend& backend, cluster::Collective& gang,
                    std::span<const ConstMatrixView> inputs, std::int64_t columns, std::int64_t tokens,
                    bool act_order, const std::string& label) {
  Hessian hessian;
  hessian.layout = TrianglePanels{columns, kPanelWidth};
  hessian.tokens = tokens;
  const TrianglePanels& layout = hessian.layout;
  const std::vector<std::int32_t> exponents = exponents_of(backend, gang, inputs, columns, label);
  kernels::Memory* const memory = backend.memory();
  hessian.values = TriangleBuffer<float>(layout, memory);
  OwnedSums sums(layout, gang.world(), memory);

  if (!act_order) {
    // Leaves are gathered in reverse, so the sums are in factor order and each owner needs its own only.
    const std::vector<std::int32_t> order = kernels::factor_order({}, columns);
    std::vector<std::int32_t> ordered_exponents(exponents.size());
    for (std::size_t a = 0; a < exponents.size(); ++a)
      ordered_exponents[a] = exponents[static_cast<std::size_t>(order[a])];
    const SumScale scale{tokens, ordered_exponents};
    add_leaves(backend, inputs, scale, layout, order, sums.panels.data());
    if (gang.world() > 1) {
      kernels::to_host(memory, sums.all());
      gang.reduce_scatter_sum(sums.all(), sums.counts, sums.of(gang.rank()), "hessian " + label);
      kernels::to_device(memory, sums.of(gang.rank()));
    }
    for (std::int64_t panel = gang.rank(); panel < layout.count(); panel += gang.world())
      backend.build_factor_panel(layout, panel, sums.panels.data(), scale, {}, 0.0,
                                 hessian.values.panels()[panel]);
    share_panels(backend, gang, hessian.values, label);
    const std::vector<double> reversed = panel_diagonal(memory, hessian.values);
    hessian.diagonal.assign(reversed.rbegin(), reversed.rend());
    return hessian;
  }

  // The order follows from the whole diagonal, so every rank takes all sums.
  const SumScale scale{tokens, exponents};
  add_leaves(backend, inputs, scale, layout, {}, sums.panels.data());
  kernels::to_host(memory, sums.all());
  if (gang.world() > 1) {
    gang.all_reduce_sum(sums.all(), "hessian " + label);
    kernels::to_device(memory, sums.all());
  }
  hessian.diagonal.resize(static_cast<std::size_t>(columns));
  kernels::hessian_diagonal(layout, sums.panels.data(), scale, hessian.diagonal);
  hessian.processing = kernels::activation_order(hessian.diagonal);
  const std::vector<std::int32_t> order = kernels::factor_order(hessian.processing, columns);
  for (std::int64_t panel = 0; panel < layout.count(); ++panel)
    backend.build_factor_panel(layout, panel, sums.panels.data(), scale, order, 0.0,
                               hessian.values.panels()[panel]);
  return hessian;
}

kernels::FactorView Factor::view() const { return {panels.layout(), panels.panels(), pivots.data()}; }

Factor factor_hessian(kernels::Backend& backend, cluster::Collective& gang, const Hessian& hessian,
                      double fraction, const std::string& label) {
  const TrianglePanels& layout = hessian.layout;
  const std::uint32_t world = gang.world();
  double share = fraction;
  for (;;) {
    Factor factor;
    factor.panels = TriangleBuffer<float>(layout, backend.memory());
    factor.pivots.assign(static_cast<std::size_t>(layout.columns), 0.0f);
    factor.damping = kernels::damping(hessian.diagonal, share);
    float* const* panels = factor.panels.panels();
    std::vector<float*> own_panels(static_cast<std::size_t>(layout.count()), nullptr);
    for (std::int64_t panel = 0; panel < layout.count(); ++panel) {
      if (panel_owner(panel, world) != gang.rank()) continue;
      own_panels[static_cast<std::size_t>(panel)] = panels[panel];
      const float* source = hessian.values.panels()[panel];
      copy_elements(backend.memory(), std::span(source, static_cast<std::size_t>(layout.elements(panel))), panels[panel]);
      const std::span<float> square(panels[panel], static_cast<std::size_t>(layout.column_count(panel) * layout.width));
      kernels::to_host(backend.memory(), square);
      for (std::int64_t i = 0; i < layout.column_count(panel); ++i) {
        const std::int64_t column = layout.first_column(panel) + i;
        float& diagonal = panels[panel][layout.index(panel, column, column)];
        diagonal = static_cast<float>(static_cast<double>(diagonal) + factor.damping);
        if (diagonal == 0.0f) diagonal = 1.0f;  // an input that is always zero: any pivot will do
      }
      kernels::to_device(backend.memory(), square);
    }

    std::int64_t bad_column = -1;
    for (std::int64_t panel = 0; panel < layout.count() && bad_column < 0; ++panel) {
      const std::uint32_t owner = panel_owner(panel, world);
      if (owner == gang.rank())
        bad_column = backend.factor_panel(layout, panel, panels[panel], factor.pivots.data());
      if (world > 1) {
        cluster::broadcast_elements(gang, std::span(&bad_column, 1), owner, "factor status " + label);
        send_from_owner(backend, gang, std::span(panels[panel], static_cast<std::size_t>(layout.elements(panel))), owner,
              "factor panel " + label);
        cluster::broadcast_elements(gang,
                                    std::span(factor.pivots)
                                        .subspan(static_cast<std::size_t>(layout.first_column(panel)),
                                                 static_cast<std::size_t>(layout.column_count(panel))),
                                    owner, "factor pivots " + label);
      }
      if (bad_column >= 0) break;
      // At once to the panels that come next, to the others a few panels at a time.
      const std::int64_t first = panel / kernels::kPanelsTogether * kernels::kPanelsTogether;
      const std::int64_t end = std::min(first + kernels::kPanelsTogether, layout.count());
      std::vector<float*> near(own_panels.size(), nullptr);
      std::copy(own_panels.begin() + first, own_panels.begin() + end, near.begin() + first);
      backend.update_panels(layout, panel, panels[panel], factor.pivots.data(), near.data());
      if (panel + 1 == end)
        backend.update_panels_by_several(layout, first, end - first, panels, factor.pivots.data(), own_panels.data());
    }
    if (bad_column < 0) return factor;
    if (share >= 1.0)
      throw Error(ErrorCode::failed, label + ": the Hessian is not positive definite at factor column " +
                                         std::to_string(bad_column) +
                                         " even with its mean diagonal added: the calibration text gives "
                                         "too little information, give more of it");
    share = std::min(1.0, share * kDampingGrowth);
  }
}

}  // namespace quench::worker
