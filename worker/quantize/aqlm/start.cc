#include "worker/quantize/aqlm/start.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "schemas/error.h"
#include "worker/quantize/aqlm/exact_totals.h"
#include "worker/quantize/aqlm/seeded_draws.h"

namespace quench::worker {
namespace {

// Points for each entry, and how long k-means goes on: what it leaves undone the least squares of the rounds do.
constexpr std::int64_t kPointsPerEntry = 4;
constexpr std::int64_t kPointsLeast = 16384;
constexpr int kIterationsMax = 12;
constexpr std::int64_t kMovedShare = 200;  // it ends when fewer than one point in so many moved

// `count` of the numbers 0 … total-1, rising, each set as likely as any other.
std::vector<std::int64_t> selection(SeededDraws& draws, std::int64_t total, std::int64_t count) {
  std::vector<std::int64_t> chosen;
  chosen.reserve(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < total && count > 0; ++i)
    if (draws.below(static_cast<std::uint64_t>(total - i)) < static_cast<std::uint64_t>(count)) {
      chosen.push_back(i);
      --count;
    }
  return chosen;
}

// This rank's part of the sample: panels of sixteen points, [panel][group][16].
struct Points {
  std::int64_t first = 0;  // its first point among all
  std::int64_t count = 0;
  std::int64_t total = 0;
  int group = 8;
  std::vector<float> values;
  std::int64_t panels() const { return (count + 15) / 16; }
  float& at(std::int64_t point, int d) {
    return values[static_cast<std::size_t>(((point / 16) * group + d) * 16 + point % 16)];
  }
};

Points take_sample(SeededDraws& draws, cluster::Collective& gang, int group, std::int64_t entries, const LinearRows& linear) {
  const std::int64_t groups = linear.cols / group, all = linear.rows * groups;
  const std::vector<std::int64_t> sample =
      selection(draws, all, std::min(all, std::max(kPointsLeast, entries * kPointsPerEntry)));
  Points points;
  points.group = group;
  points.total = static_cast<std::int64_t>(sample.size());
  const std::int64_t panels = (points.total + 15) / 16, rank = gang.rank(), world = gang.world();
  points.first = panels * rank / world * 16;
  points.count = std::max<std::int64_t>(0, std::min(panels * (rank + 1) / world * 16, points.total) - points.first);
  points.values.assign(static_cast<std::size_t>(points.panels() * group * 16), 0.0f);
  std::vector<float> row(static_cast<std::size_t>(linear.cols));
  std::int64_t current = -1;
  float inverse = 0;
  for (std::int64_t i = 0; i < points.count; ++i) {
    const std::int64_t place = sample[static_cast<std::size_t>(points.first + i)];
    if (place / groups != current) {
      current = place / groups;
      linear.read(current, row.data());
      const float scale = row_scale(row.data(), linear.cols);
      inverse = scale > 0 ? 1.0f / scale : 0.0f;
    }
    for (int d = 0; d < group; ++d)
      points.at(i, d) = row[static_cast<std::size_t>(place % groups * group + d)] * inverse;
  }
  return points;
}

// Points drawn from the sample, on every rank: the bits of a float as the one integer that is not 0.
void draw_entries(SeededDraws& draws, cluster::Collective& gang, Points& points, std::span<float> entries,
                  const std::string& label) {
  const std::int64_t count = static_cast<std::int64_t>(entries.size()) / points.group;
  std::vector<std::int64_t> bits(entries.size(), 0);
  const std::vector<std::int64_t> chosen = selection(draws, points.total, count);
  QUENCH_CHECK(static_cast<std::int64_t>(chosen.size()) == count, chosen.size(), count);
  for (std::size_t e = 0; e < chosen.size(); ++e) {
    const std::int64_t point = chosen[e] - points.first;
    if (point < 0 || point >= points.count) continue;
    for (int d = 0; d < points.group; ++d) {
      std::uint32_t word;
      std::memcpy(&word, &points.at(point, d), sizeof word);
      bits[e * static_cast<std::size_t>(points.group) + static_cast<std::size_t>(d)] = word;
    }
  }
  if (gang.world() > 1) gang.all_reduce_sum(bits, "first entries " + label);
  for (std::size_t i = 0; i < bits.size(); ++i) {
    const auto word = static_cast<std::uint32_t>(bits[i]);
    std::memcpy(&entries[i], &word, sizeof word);
  }
}

}  // namespace

float row_scale(const float* row, std::int64_t cols) {
  double sum = 0;
  for (std::int64_t k = 0; k < cols; ++k) sum += static_cast<double>(row[k]) * row[k];
  return static_cast<float>(std::sqrt(sum / static_cast<double>(cols)));
}

std::vector<float> start_codebooks(kernels::Codebooks& kernels, cluster::Collective& gang, const QuantizeSpec& recipe,
                                   const LinearRows& linear, const std::string& label) {
  const int group = recipe.group_size;
  const std::int64_t count = std::int64_t{1} << recipe.codebook_bits;
  SeededDraws draws(recipe.seed);
  Points points = take_sample(draws, gang, group, count, linear);
  std::vector<float> all(static_cast<std::size_t>(recipe.codebooks * count * group));
  std::vector<std::int32_t> index(static_cast<std::size_t>(points.panels() * 16), -1), before;
  std::vector<std::int64_t> sums(static_cast<std::size_t>(count * (group + 1)));
  for (std::uint32_t m = 0; m < recipe.codebooks; ++m) {
    const std::span<float> entries(all.data() + m * static_cast<std::size_t>(count * group),
                                   static_cast<std::size_t>(count * group));
    draw_entries(draws, gang, points, entries, label);
    double largest = 0;
    for (const float value : points.values) largest = std::max(largest, static_cast<double>(std::fabs(value)));
    const double unit = shared_unit(gang, largest, static_cast<double>(points.total), "start " + label);
    std::fill(index.begin(), index.end(), -1);
    for (int iteration = 0; iteration < kIterationsMax; ++iteration) {
      before = index;
      kernels.nearest(entries.data(), count, group, points.values.data(), points.panels(), index.data());
      std::fill(sums.begin(), sums.end(), 0);
      std::int64_t moved = 0;
      for (std::int64_t i = 0; i < points.count; ++i) {
        const std::int32_t entry = index[static_cast<std::size_t>(i)];
        if (entry != before[static_cast<std::size_t>(i)]) ++moved;
        std::int64_t* sum = sums.data() + static_cast<std::int64_t>(entry) * (group + 1);
        for (int d = 0; d < group; ++d) sum[d] += std::llrint(static_cast<double>(points.at(i, d)) * unit);
        ++sum[group];
      }
      if (gang.world() > 1) {
        gang.all_reduce_sum(sums, "start " + label);
        gang.all_reduce_sum(std::span(&moved, 1), "start moved " + label);
      }
      for (std::int64_t e = 0; e < count; ++e) {
        const std::int64_t* sum = sums.data() + e * (group + 1);
        if (sum[group] == 0) continue;
        for (int d = 0; d < group; ++d)
          entries[static_cast<std::size_t>(e * group + d)] =
              static_cast<float>(static_cast<double>(sum[d]) / unit / static_cast<double>(sum[group]));
      }
      if (moved < points.total / kMovedShare) break;
    }
    if (m + 1 == recipe.codebooks) break;
    kernels.nearest(entries.data(), count, group, points.values.data(), points.panels(), index.data());
    for (std::int64_t i = 0; i < points.count; ++i)
      for (int d = 0; d < group; ++d)
        points.at(i, d) -= entries[static_cast<std::size_t>(index[static_cast<std::size_t>(i)] * group + d)];
  }
  return all;
}

}  // namespace quench::worker
