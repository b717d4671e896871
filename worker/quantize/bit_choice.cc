#include "worker/quantize/bit_choice.h"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstdio>
#include <limits>
#include <map>
#include <utility>

#include "schemas/bit_budget.h"
#include "schemas/error.h"
#include "worker/quantize/methods.h"

namespace quench::worker {
namespace {

using kernels::ConstMatrixView;
using kernels::MatrixView;

constexpr std::uint64_t kBudgetUnits = 50'000;
// Rows of a linear that are solved for each choice: enough for the mean of their losses.
constexpr std::uint32_t kSampledRows = 256;

// Tiles spread evenly over the linear's rows.
std::vector<std::uint32_t> sampled_tiles(const LinearShape& linear) {
  const std::uint32_t rows = tile_rows(linear.outputs, linear.inputs);
  const std::uint32_t tiles = tile_count(linear);
  const std::uint32_t wanted = std::min(tiles, (kSampledRows + rows - 1) / rows);
  std::vector<std::uint32_t> sample;
  for (std::uint32_t i = 0; i < wanted; ++i)
    sample.push_back(static_cast<std::uint32_t>(std::uint64_t{i} * tiles / wanted));
  return sample;
}

void append_double(Bytes& bytes, double value) {
  const auto raw = std::bit_cast<std::uint64_t>(value);
  for (unsigned byte = 0; byte < 8; ++byte) bytes.push_back(static_cast<std::uint8_t>(raw >> 8 * byte));
}

double double_at(const Bytes& bytes, std::size_t index) {
  std::uint64_t raw = 0;
  for (unsigned byte = 0; byte < 8; ++byte) raw |= std::uint64_t{bytes.at(8 * index + byte)} << 8 * byte;
  return std::bit_cast<double>(raw);
}

// The relative loss of each choice of one linear. This rank solves its sampled tiles, one below the other.
std::vector<PricedChoice> price(const GangContext& context, const QuantizeSpec& recipe,
                                const LinearShape& linear, const Hessian& hessian, const Factor& factor) {
  const std::vector<std::uint32_t> sample = sampled_tiles(linear);
  const std::uint32_t rows_per_tile = tile_rows(linear.outputs, linear.inputs);
  const std::uint32_t world = context.gang.world();
  const std::size_t own_tiles = (sample.size() + world - 1 - context.gang.rank()) / world;
  kernels::AlignedBuffer<float> weights(own_tiles * rows_per_tile * linear.inputs);
  std::int64_t own_rows = 0;
  for (std::size_t i = context.gang.rank(); i < sample.size(); i += world) {
    const std::uint64_t first = std::uint64_t{sample[i]} * rows_per_tile;
    const std::uint32_t rows = rows_of_tile(linear, sample[i]);
    const std::vector<float> tile = read_rows(context.source, linear.tensor, first, rows);
    std::copy(tile.begin(), tile.end(), weights.data() + own_rows * linear.inputs);
    own_rows += rows;
  }
  const auto choices = budget_choices(linear);
  const ConstMatrixView view(weights.data(), own_rows, linear.inputs);
  Bytes mine;
  for (const auto& [bits, group_size] : choices) {
    if (view.rows == 0) break;
    for (const SolvedTile& tile : solve_tiles(context.backend, with_choice(recipe, bits, group_size), view,
                                              rows_per_tile, &hessian, &factor)) {
      append_double(mine, tile.loss);
      append_double(mine, tile.energy);
    }
  }
  const std::vector<Bytes> all = context.gang.all_gather_bytes(mine, "predicted losses " + linear.short_name);
  std::vector<PricedChoice> priced;
  for (std::size_t c = 0; c < choices.size(); ++c) {
    double loss = 0, energy = 0;
    for (std::size_t i = 0; i < sample.size(); ++i) {
      const std::uint32_t rank = static_cast<std::uint32_t>(i % world);
      const std::size_t tiles_of_rank = (sample.size() + world - 1 - rank) / world;
      const std::size_t at = 2 * (c * tiles_of_rank + i / world);
      loss += double_at(all[rank], at);
      energy += double_at(all[rank], at + 1);
    }
    PricedChoice choice{choices[c].first, choices[c].second, 0, energy > 0 ? loss / energy : 0};
    choice.bytes = packed_linear_bytes(linear, with_choice(recipe, choice.bits, choice.group_size));
    priced.push_back(choice);
  }
  return priced;
}

std::vector<std::vector<PricedChoice>> price_block(const GangContext& context, const QuantizeSpec& recipe,
                                                   std::uint32_t layer, const kernels::RopeTable& rope,
                                                   std::int64_t length, std::int64_t total_tokens,
                                                   MatrixView hidden,
                                                   const std::function<void(const std::string&)>& on_step) {
  const std::vector<LinearShape> linears = block_linears(context.source.config(), layer);
  const Block block = load_block(context.source, layer, context.backend.memory());
  const std::vector<std::int64_t> lengths(static_cast<std::size_t>(hidden.rows / length), length);
  BlockForward forward({context.backend, context.source.config(), rope}, block, lengths, hidden);
  std::vector<std::vector<PricedChoice>> priced(linears.size());
  for (std::uint32_t stage = 0; stage < kBlockStages; ++stage) {
    std::string names;
    for (const LinearShape& linear : linears)
      if (linear.stage == stage) names += (names.empty() ? "" : ",") + linear.short_name;
    on_step("choosing bits " + names);
    const ConstMatrixView input = forward.stage_input(stage);
    std::vector<ConstMatrixView> sequences;
    for (std::int64_t row = 0; row < input.rows; row += length)
      sequences.push_back(input.row_range(row, length));
    const Hessian hessian = sum_hessian(context.backend, context.gang, sequences, input.cols, total_tokens,
                                        recipe.act_order, names);
    const Factor factor = factor_hessian(context.backend, context.gang, hessian, recipe.damping, names);
    for (std::size_t i = 0; i < linears.size(); ++i)
      if (linears[i].stage == stage) priced[i] = price(context, recipe, linears[i], hessian, factor);
  }
  forward.finish();
  return priced;
}

// Single changes that still fit, the one that gains most first.
void spend_the_rest(const std::vector<std::vector<PricedChoice>>& linears, std::uint64_t bytes_max,
                    std::vector<std::size_t>& chosen) {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < linears.size(); ++i) bytes += linears[i][chosen[i]].bytes;
  for (;;) {
    double best = 0;
    std::pair<std::size_t, std::size_t> change;
    for (std::size_t i = 0; i < linears.size(); ++i)
      for (std::size_t c = 0; c < linears[i].size(); ++c) {
        const PricedChoice &from = linears[i][chosen[i]], &to = linears[i][c];
        if (bytes - from.bytes + to.bytes > bytes_max || from.loss - to.loss <= best) continue;
        best = from.loss - to.loss;
        change = {i, c};
      }
    if (best == 0) return;
    bytes = bytes - linears[change.first][chosen[change.first]].bytes +
            linears[change.first][change.second].bytes;
    chosen[change.first] = change.second;
  }
}

}  // namespace

std::vector<std::size_t> cheapest_choices(const std::vector<std::vector<PricedChoice>>& linears,
                                          std::uint64_t bytes_max) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  std::uint64_t smallest = 0;
  for (const auto& choices : linears)
    smallest += std::min_element(choices.begin(), choices.end(), [](const auto& a, const auto& b) {
                  return a.bytes < b.bytes;
                })->bytes;
  if (smallest > bytes_max)
    throw Error(ErrorCode::bad_input, "budgetGiB: the blocks' linears take " + std::to_string(smallest) +
                                          " bytes at their smallest, " + std::to_string(bytes_max) +
                                          " are left for them: give the budget more");
  // Bytes above each linear's smallest, in units, rounded up: what fits in units fits in bytes.
  const std::uint64_t extra = bytes_max - smallest;
  const std::uint64_t unit = std::max<std::uint64_t>(1, (extra + kBudgetUnits - 1) / kBudgetUnits);
  const std::size_t units = extra / unit;
  std::vector<double> best(units + 1, 0);
  std::vector<std::vector<std::uint8_t>> choice_at(linears.size(), std::vector<std::uint8_t>(units + 1, 0));
  for (std::size_t i = 0; i < linears.size(); ++i) {
    const std::vector<PricedChoice>& choices = linears[i];
    std::uint64_t low = ~std::uint64_t{0};
    for (const PricedChoice& choice : choices) low = std::min(low, choice.bytes);
    std::vector<double> next(units + 1, kNever);
    for (std::size_t c = 0; c < choices.size(); ++c) {
      const std::uint64_t cost = (choices[c].bytes - low + unit - 1) / unit;
      for (std::size_t u = cost; u <= units; ++u) {
        const double loss = best[u - cost] + choices[c].loss;
        if (loss >= next[u]) continue;
        next[u] = loss;
        choice_at[i][u] = static_cast<std::uint8_t>(c);
      }
    }
    best = std::move(next);
  }
  // The fewest units with the smallest sum, then back through the choices.
  std::size_t u = static_cast<std::size_t>(std::min_element(best.begin(), best.end()) - best.begin());
  std::vector<std::size_t> chosen(linears.size());
  for (std::size_t i = linears.size(); i-- > 0;) {
    chosen[i] = choice_at[i][u];
    std::uint64_t low = ~std::uint64_t{0};
    for (const PricedChoice& choice : linears[i]) low = std::min(low, choice.bytes);
    u -= (linears[i][chosen[i]].bytes - low + unit - 1) / unit;
  }
  spend_the_rest(linears, bytes_max, chosen);
  return chosen;
}

namespace {

QuantizeSpec without_budget(QuantizeSpec recipe) {
  recipe.name.clear();
  recipe.budget_gib = 0;
  return recipe;
}

}  // namespace

bool PricedModel::serves(const QuantizeSpec& other, const Digest& its_calibration) const {
  return !linears.empty() && recipe == without_budget(other) && calibration == its_calibration;
}

PricedModel price_model(const GangContext& context, const QuantizeSpec& recipe, const kernels::RopeTable& rope,
                        std::int64_t length, std::int64_t total_tokens, MatrixView hidden,
                        const std::function<void(std::uint32_t, const std::string&)>& on_step) {
  const auto started = std::chrono::steady_clock::now();
  PricedModel priced;
  priced.recipe = without_budget(recipe);
  for (std::uint32_t layer = 0; layer < context.source.config().layers; ++layer)
    in_context("block " + std::to_string(layer), [&] {
      auto block = price_block(context, recipe, layer, rope, length, total_tokens, hidden,
                               [&](const std::string& step) { on_step(layer, step); });
      for (const LinearShape& linear : block_linears(context.source.config(), layer))
        priced.tensors.push_back(linear.tensor);
      for (auto& linear : block) priced.linears.push_back(std::move(linear));
    });
  priced.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  return priced;
}

std::vector<BitChoice> choose_bits(const GangContext& context, const QuantizeSpec& recipe, const PricedModel& priced,
                                   std::uint64_t bytes_max) {
  const std::vector<std::size_t> chosen = cheapest_choices(priced.linears, bytes_max);
  std::vector<BitChoice> choices;
  std::map<std::uint32_t, int> of_bits;
  double loss = 0;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    const PricedChoice& choice = priced.linears[i][chosen[i]];
    choices.push_back({priced.tensors[i], choice.bits, choice.group_size});
    ++of_bits[choice.bits];
    loss += choice.loss;
  }
  if (context.gang.rank() == 0) {
    std::string text = "chose";
    for (const auto& [bits, linears] : of_bits)
      text += (text == "chose" ? " " : ", ") + std::to_string(bits) + " bits for " + std::to_string(linears);
    char mean[40];
    std::snprintf(mean, sizeof mean, "%.3g", loss / static_cast<double>(chosen.size()));
    context.sink.log(recipe.name + ": " + text + " linears; predicted mean relative loss " + mean);
  }
  return choices;
}

}  // namespace quench::worker
