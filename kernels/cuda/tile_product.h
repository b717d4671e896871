// The inner part of every fp32 matrix product: a tile of (16 * RowsPer) x 128 sums, one FMA chain over the depth
// each, 256 threads with RowsPer x 8 sums in registers. Per step of the depth a thread reads RowsPer + 8 floats of
// shared memory for 16 * RowsPer flops. Steps beyond the depth are left out, not added as zeros: adding +0
// would change a sum of -0.
#pragma once

#include <type_traits>

#include "kernels/cuda/device_math.h"

namespace quench::kernels::cuda {

inline constexpr int kTileThreads = 256;
inline constexpr int kTileCols = 128;
inline constexpr int kTileDepth = 16;
// Blocks of a tall tile that a multiprocessor should hold at once: while one loads, the other computes.
inline constexpr int kTileBlocks = 2;

// Two steps of the depth: one is multiplied while the next is put down.
template <int RowsPer>
struct TileShared {
  struct Step {
    alignas(16) float a[kTileDepth][16 * RowsPer + 4];
    alignas(16) float b[kTileDepth][kTileCols];
  } steps[2];
};
template <int RowsPer>
struct TileSums {
  float v[RowsPer][8];
};

// Which elements of an operand consecutive threads load: those side by side in memory.
enum class LoadOrder { depth_first, index_first };

template <int RowsPer>
QUENCH_DEVICE int tile_row(int thread, int i) {
  const int y = thread / 16;
  return RowsPer == 8 ? (i / 4) * 64 + y * 4 + i % 4 : y * RowsPer + i;
}
// The line at `index`, or the last one: what lies outside of the matrix is loaded as that and not used.
QUENCH_DEVICE std::int64_t line_inside(std::int64_t index, std::int64_t lines) { return index < lines ? index : lines - 1; }
QUENCH_DEVICE int tile_col(int thread, int j) { return (j / 4) * 64 + (thread % 16) * 4 + j % 4; }

struct alignas(16) FourFloats {
  float v[4];
};
// Sixteen bytes at once; `from` lies on such a boundary.
QUENCH_DEVICE FourFloats load_four(const float* from) { return *reinterpret_cast<const FourFloats*>(from); }

// The first `count` of a step's columns; all of them with Whole, where nothing stands between one and the next.
template <int RowsPer, bool Whole, typename Limit>
QUENCH_DEVICE void multiply_steps(const typename TileShared<RowsPer>::Step& shared, TileSums<RowsPer>& sums, int thread, int count,
                                  std::int64_t depth, const Limit& limit) {
  QUENCH_UNROLL
  for (int k = 0; k < kTileDepth; ++k) {
    if (!Whole && k >= count) break;
    float a[RowsPer], b[8];
    if constexpr (RowsPer == 8) {
      QUENCH_UNROLL
      for (int half = 0; half < 2; ++half) {
        const FourFloats four = load_four(&shared.a[k][tile_row<8>(thread, half * 4)]);
        QUENCH_UNROLL
        for (int i = 0; i < 4; ++i) a[half * 4 + i] = four.v[i];
      }
    } else {
      QUENCH_UNROLL
      for (int i = 0; i < RowsPer; ++i) a[i] = shared.a[k][tile_row<RowsPer>(thread, i)];
    }
    QUENCH_UNROLL
    for (int half = 0; half < 2; ++half) {
      const FourFloats four = load_four(&shared.b[k][tile_col(thread, half * 4)]);
      QUENCH_UNROLL
      for (int j = 0; j < 4; ++j) b[half * 4 + j] = four.v[j];
    }
    QUENCH_UNROLL
    for (int i = 0; i < RowsPer; ++i) {
      if (!limit(tile_row<RowsPer>(thread, i), depth + k)) continue;
      QUENCH_UNROLL
      for (int j = 0; j < 8; ++j) sums.v[i][j] = fused(a[i], b[j], sums.v[i][j]);
    }
  }
}

// A thread's part of one operand's step on its way from memory to where all threads see it.
template <int Lines>
struct StepLoads {
  float values[Lines * kTileDepth / kTileThreads];
  float factor;  // of all of them, where the operand has one
};

// What a thread loads of a step, times `factor`: applied when the values have come, so that nothing waits for them.
template <typename At>
struct ScaledLoads {
  At at;
  float factor;
  template <typename Index>
  QUENCH_DEVICE float operator()(Index index) const {
    return at(index);
  }
};

// Where a thread's element i of one operand of a step stands: `Lines` of kTileDepth steps. One of the two is the same for
// all i.
template <int Lines, LoadOrder Order>
struct StepElement {
  static_assert(kTileThreads % Lines == 0 && kTileThreads % kTileDepth == 0);
  int step, line;
  QUENCH_DEVICE StepElement(int thread, int i) {
    const int element = thread + i * kTileThreads;
    step = Order == LoadOrder::depth_first ? thread % kTileDepth : element / Lines;
    line = Order == LoadOrder::depth_first ? element / kTileDepth : thread % Lines;
  }
};

// A thread's part of one operand's step that begins at depth k. Steps behind the depth take the last one again, which nobody
// counts: without a way out, all loads are under way together.
template <int Lines, LoadOrder Order, typename Load>
QUENCH_DEVICE void load_step(StepLoads<Lines>& to, int thread, std::int64_t k, std::int64_t depth, const Load& load) {
  constexpr int count = Lines * kTileDepth / kTileThreads;
  const StepElement<Lines, Order> first(thread, 0);
  const auto inside = [&](int step) { return k + step < depth ? k + step : depth - 1; };
  const auto take = [&](const auto& at) {
    QUENCH_UNROLL
    for (int i = 0; i < count; ++i) {
      const StepElement<Lines, Order> element(thread, i);
      if constexpr (Order == LoadOrder::depth_first)
        to.values[i] = at(element.line);
      else
        to.values[i] = at(inside(element.step));
    }
    if constexpr (requires { at.factor; }) to.factor = at.factor;
  };
  if constexpr (Order == LoadOrder::depth_first)
    take(load(inside(first.step)));
  else
    take(load(first.line));
}
template <int Lines, LoadOrder Order, typename Load, int Pitch>
QUENCH_DEVICE void put_step(const StepLoads<Lines>& from, int thread, const Load&, float (&to)[kTileDepth][Pitch]) {
  using Index = std::conditional_t<Order == LoadOrder::depth_first, std::int64_t, int>;
  QUENCH_UNROLL
  for (int i = 0; i < Lines * kTileDepth / kTileThreads; ++i) {
    const StepElement<Lines, Order> at(thread, i);
    float value = from.values[i];
    if constexpr (requires(const Load& load) { load(Index{}).factor; }) value *= from.factor;
    to[at.step][at.line] = value;
  }
}

// Goes on with the chains in `sums` over depth 0 .. depth-1; a step counts for a row only where limit(row, k) holds. An
// operand is loaded as load(k)(line) where its lines are read depth first, as load(line)(k) else, with k below the depth; what
// it gives for lines that lie outside of the matrix must be readable and goes into sums that nobody takes. Loads of a step
// are under way while the one before it is multiplied.
template <int RowsPer, LoadOrder OrderA, LoadOrder OrderB, typename Group, typename Sums, typename LoadA, typename LoadB,
          typename Limit>
QUENCH_DEVICE void multiply_tile(Group& group, TileShared<RowsPer>& shared, Sums& sums, std::int64_t depth,
                                 const LoadA& load_a, const LoadB& load_b, const Limit& limit) {
  constexpr int rows = 16 * RowsPer;
  struct Loads {
    StepLoads<rows> a;
    StepLoads<kTileCols> b;
  };
  const auto load = [&](int thread, std::int64_t k, Loads& loads) {
    load_step<rows, OrderA>(loads.a, thread, k, depth, load_a);
    load_step<kTileCols, OrderB>(loads.b, thread, k, depth, load_b);
  };
  const auto put = [&](int thread, const Loads& loads, typename TileShared<RowsPer>::Step& to) {
    put_step<rows, OrderA>(loads.a, thread, load_a, to.a);
    put_step<kTileCols, OrderB>(loads.b, thread, load_b, to.b);
  };
  if (depth <= 0) return;
  group.each([&](int thread) {
    Loads loads;
    load(thread, 0, loads);
    put(thread, loads, shared.steps[0]);
  });
  int now = 0;
  for (std::int64_t k = 0; k < depth; k += kTileDepth, now ^= 1) {
    const int count = depth - k < kTileDepth ? static_cast<int>(depth - k) : kTileDepth;
    const bool more = k + kTileDepth < depth;
    group.each([&](int thread) {
      Loads loads = {};
      if (more) load(thread, k + kTileDepth, loads);
      if (count == kTileDepth)
        multiply_steps<RowsPer, true>(shared.steps[now], sums[thread], thread, count, k, limit);
      else
        multiply_steps<RowsPer, false>(shared.steps[now], sums[thread], thread, count, k, limit);
      if (more) put(thread, loads, shared.steps[now ^ 1]);
    });
  }
}

struct NoLimit {
  QUENCH_DEVICE bool operator()(int, std::int64_t) const { return true; }
};

}  // namespace quench::kernels::cuda
