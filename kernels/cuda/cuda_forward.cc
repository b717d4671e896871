// The model's forward pass on a device.
#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/cuda_device.h"

namespace quench::kernels::cuda {
namespace {

// Rows up to which decoding's kernels read the weights as they lie; more rows go through tiles or tensor cores.
constexpr std::int64_t kSliceRowsMax = 16;
constexpr std::int64_t kChainRowsMax = kGemvRowsMax;
constexpr std::int64_t kGemvRun = GemvSlicesQ4x1::kRun;
// Rows from which a tile of 128 rows pays.
constexpr std::int64_t kTallRows = 65;
// Scores held at once.
constexpr std::int64_t kScoresMax = std::int64_t{64} << 20;
// Blocks in y and z of a launch are 16-bit numbers.
constexpr std::int64_t kGridMax = 65535;

using Before = OperandCall::Before;

// Calls launch(first row, rows) for pieces that a grid's y can number.
template <typename Launch>
void for_grid_rows(std::int64_t rows, Launch&& launch) {
  for (std::int64_t first = 0; first < rows; first += kGridMax) launch(first, std::min(kGridMax, rows - first));
}

}  // namespace

CudaBackend::CudaBackend(std::unique_ptr<Device> device, Arithmetic arithmetic, int host_threads)
    : arithmetic_(arithmetic), device_(std::move(device)), memory_(*device_), arena_(*device_), threads_(host_threads) {}

CudaBackend::~CudaBackend() {
  for (const Expanded& one : expanded_)
    if (one.values != nullptr) device_->release(one.values);
}

void CudaBackend::on_host_threads(std::int64_t count, const std::function<void(std::int64_t)>& body) {
  run_in_turn(threads_, count, body);
}

WeightView CudaBackend::weight_in(OperandCall& call, const WeightView& weight) const {
  WeightView on_device = weight;
  const std::int64_t panels = panel_count(weight.rows);
  on_device.panels =
      call.in(static_cast<const std::uint8_t*>(weight.panels),
              panels * static_cast<std::int64_t>(panel_bytes(weight.format, weight.cols)));
  if (code_bits(weight.format) != 0) {
    const std::int64_t grids = panels * group_count(weight.cols, weight.group_size) * kPanelRows;
    on_device.scales = call.in(weight.scales, grids);
    on_device.zeros = call.in(weight.zeros, grids);
  }
  return on_device;
}

ConstMatrixView CudaBackend::expanded(const WeightView& host, const WeightView& device) {
  const std::size_t bytes = static_cast<std::size_t>(host.rows * host.cols) * sizeof(float);
  const bool resident = memory_.device_address(host.panels) != nullptr;
  Expanded* taken = nullptr;
  for (Expanded& one : expanded_) {
    if (resident && one.panels == host.panels && one.version == memory_.version() && one.bytes >= bytes) {
      one.used = ++expansions_;
      return {one.values, host.rows, host.cols};
    }
    if (taken == nullptr || one.used < taken->used) taken = &one;
  }
  if (taken->bytes < bytes) {
    if (taken->values != nullptr) device_->release(taken->values);
    *taken = {};
    taken->values = static_cast<float*>(device_->allocate(bytes));
    taken->bytes = bytes;
  }
  device_->launch(ExpandWeights{device, taken->values}, {blocks(host.cols, 32), panel_count(host.rows)});
  taken->panels = resident ? host.panels : nullptr;
  taken->version = memory_.version();
  taken->used = ++expansions_;
  return {taken->values, host.rows, host.cols};
}

void CudaBackend::gemv_slices(ConstMatrixView x, const WeightView& weight, MatrixView y) {
  const Grid grid{panel_count(weight.rows)};
  for (std::int64_t row = 0; row < x.rows; row += kGemvRowsMax) {
    const std::int64_t rows = std::min<std::int64_t>(kGemvRowsMax, x.rows - row);
    const ConstMatrixView part = x.row_range(row, rows);
    const MatrixView to = y.row_range(row, rows);
    const bool aligned = reinterpret_cast<std::uintptr_t>(part.data) % 16 == 0 && (rows == 1 || x.stride % 4 == 0);
    const auto launch = [&](auto one, auto many) {
      if (rows == 1)
        device_->launch(decltype(one){part, weight, to, aligned}, grid);
      else
        device_->launch(decltype(many){part, weight, to, aligned}, grid);
    };
    switch (code_bits(weight.format)) {
      case 8:
        launch(GemvSlicesQ8x1{}, GemvSlicesQ8x8{});
        break;
      case 4:
        launch(GemvSlicesQ4x1{}, GemvSlicesQ4x8{});
        break;
      case 3:
        launch(GemvSlicesQ3x1{}, GemvSlicesQ3x8{});
        break;
      case 2:
        launch(GemvSlicesQ2x1{}, GemvSlicesQ2x8{});
        break;
      default:
        launch(GemvSlicesDense1{}, GemvSlicesDense8{});
    }
  }
}

void CudaBackend::gemm(ConstMatrixView x, const WeightView& weight, MatrixView y) {
  QUENCH_KERNEL_CHECK_EQ(x.cols, weight.cols);
  QUENCH_KERNEL_CHECK_EQ(y.cols, weight.rows);
  QUENCH_KERNEL_CHECK_EQ(x.rows, y.rows);
  if (x.rows == 0 || weight.rows == 0) return;
  OperandCall call = begin();
  const ConstMatrixView from = call.in(x);
  const WeightView w = weight_in(call, weight);
  const MatrixView to = call.out(y, Before::unset);
  // A group that ends within a run would need two scales for it; fp32 weights are for tests and tools.
  const bool sliced = weight.format != WeightFormat::f32 && (weight.group_size < 0 || weight.group_size % kGemvRun == 0);
  if (arithmetic_ == Arithmetic::tensor && x.rows <= kSliceRowsMax && sliced) {
    gemv_slices(from, w, to);
  } else if (arithmetic_ == Arithmetic::tensor && x.rows > kSliceRowsMax) {
    device_->multiply_tf32(from, expanded(weight, w), to);
  } else if (x.rows <= kChainRowsMax) {
    device_->launch(GemvChains{from, w, to}, {blocks(w.rows, GemvChains::kThreads)});
  } else if (x.rows < kTallRows) {
    device_->launch(GemmFlatTile{from, w, to}, {blocks(w.rows, kTileCols), blocks(x.rows, GemmFlatTile::kRows)});
  } else {
    for (std::int64_t first = 0; first < x.rows; first += kGridMax * GemmTallTile::kRows) {
      const std::int64_t rows = std::min(kGridMax * GemmTallTile::kRows, x.rows - first);
      device_->launch(GemmTallTile{from.row_range(first, rows), w, to.row_range(first, rows)},
                      {blocks(w.rows, kTileCols), blocks(rows, GemmTallTile::kRows)});
    }
  }
  call.finish();
}

void CudaBackend::gather_columns(ConstMatrixView x, std::span<const std::int32_t> permutation, MatrixView y) {
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(permutation.size()), y.cols);
  QUENCH_KERNEL_CHECK_EQ(x.rows, y.rows);
  OperandCall call = begin();
  const ConstMatrixView from = call.in(x);
  const std::int32_t* order = call.in(permutation);
  gather(from, order, call.out(y, Before::unset));
  call.finish();
}

// All of it on the device.
void CudaBackend::gather(ConstMatrixView x, const std::int32_t* permutation, MatrixView y) {
  for_grid_rows(y.rows, [&](std::int64_t first, std::int64_t rows) {
    device_->launch(GatherColumns{x.row_range(first, rows), permutation, y.row_range(first, rows)},
                    {blocks(y.cols, kRowThreads), rows});
  });
}

void CudaBackend::embed(std::span<const std::int32_t> ids, const EmbeddingView& table, MatrixView out) {
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(ids.size()), out.rows);
  QUENCH_KERNEL_CHECK_EQ(table.cols, out.cols);
  for (const std::int32_t id : ids) {
    QUENCH_KERNEL_CHECK_LE(0, id);
    QUENCH_KERNEL_CHECK_LE(id, table.rows - 1);
  }
  OperandCall call = begin();
  const std::size_t row_bytes = static_cast<std::size_t>(table.cols) * element_bytes(table.type);
  const MatrixView to = call.out(out, Before::unset);
  Embed embed;
  embed.type = table.type;
  std::vector<std::uint8_t> picked;
  embed.table = memory_.device_address(table.data);
  if (embed.table != nullptr) {
    embed.ids = call.in(ids);
  } else {
    // Of a table in host memory only the rows wanted travel.
    picked.resize(ids.size() * row_bytes);
    for (std::size_t i = 0; i < ids.size(); ++i)
      std::memcpy(picked.data() + i * row_bytes,
                  static_cast<const std::uint8_t*>(table.data) + static_cast<std::size_t>(ids[i]) * row_bytes, row_bytes);
    embed.table = call.in(std::span<const std::uint8_t>(picked));
  }
  for_grid_rows(out.rows, [&](std::int64_t first, std::int64_t rows) {
    Embed part = embed;
    part.out = to.row_range(first, rows);
    if (part.ids != nullptr)
      part.ids += first;
    else
      part.table = static_cast<const std::uint8_t*>(embed.table) + static_cast<std::size_t>(first) * row_bytes;
    device_->launch(part, {blocks(out.cols, kRowThreads), rows});
  });
  call.finish();
}

void CudaBackend::rms_norm(ConstMatrixView x, const float* weight, float epsilon, MatrixView y) {
  QUENCH_KERNEL_CHECK_EQ(x.rows, y.rows);
  QUENCH_KERNEL_CHECK_EQ(x.cols, y.cols);
  if (x.rows == 0) return;
  OperandCall call = begin();
  device_->launch(RmsNorm{call.in(x), call.in(weight, x.cols), epsilon, call.out(y, Before::unset)}, {x.rows});
  call.finish();
}

void CudaBackend::rope(MatrixView x, const RopeTable& table, std::span<const std::int32_t> positions) {
  QUENCH_KERNEL_CHECK_EQ(static_cast<std::int64_t>(positions.size()), x.rows);
  QUENCH_KERNEL_CHECK_EQ(x.cols % table.head_dim, 0);
  if (x.rows == 0) return;
  const auto [least, most] = std::minmax_element(positions.begin(), positions.end());
  QUENCH_KERNEL_CHECK_LE(0, *least);
  QUENCH_KERNEL_CHECK_LE(*most, table.positions - 1);
  // The rows of the table between the least and the largest position.
  std::vector<std::int32_t> relative(positions.begin(), positions.end());
  for (std::int32_t& position : relative) position -= *least;
  const std::int64_t half = table.head_dim / 2, first = *least * half, count = (*most - *least + 1) * half;
  OperandCall call = begin();
  device_->launch(Rope{call.out(x, Before::keep), call.in(table.cosines.data() + first, count),
                       call.in(table.sines.data() + first, count), call.in(std::span<const std::int32_t>(relative)),
                       table.head_dim},
                  {x.rows});
  call.finish();
}

void CudaBackend::silu_multiply(ConstMatrixView gate, ConstMatrixView up, MatrixView out) {
  QUENCH_KERNEL_CHECK_EQ(gate.rows, up.rows);
  QUENCH_KERNEL_CHECK_EQ(gate.cols, up.cols);
  QUENCH_KERNEL_CHECK_EQ(gate.rows, out.rows);
  QUENCH_KERNEL_CHECK_EQ(gate.cols, out.cols);
  OperandCall call = begin();
  const ConstMatrixView g = call.in(gate), u = call.in(up);
  const MatrixView to = call.out(out, Before::unset);
  for_grid_rows(out.rows, [&](std::int64_t first, std::int64_t rows) {
    device_->launch(SiluMultiply{g.row_range(first, rows), u.row_range(first, rows), to.row_range(first, rows)},
                    {blocks(out.cols, kRowThreads), rows});
  });
  call.finish();
}

void CudaBackend::add(ConstMatrixView x, MatrixView y) {
  QUENCH_KERNEL_CHECK_EQ(x.rows, y.rows);
  QUENCH_KERNEL_CHECK_EQ(x.cols, y.cols);
  OperandCall call = begin();
  const ConstMatrixView from = call.in(x);
  const MatrixView to = call.out(y, Before::keep);
  for_grid_rows(y.rows, [&](std::int64_t first, std::int64_t rows) {
    device_->launch(AddRows{from.row_range(first, rows), to.row_range(first, rows)},
                    {blocks(y.cols, kRowThreads), rows});
  });
  call.finish();
}

namespace {

// A segment's cache where the device sees it. A cache in host memory travels both ways.
SegmentTask segment_task(OperandCall& call, const KvSegment& segment, bool written) {
  const KvCacheView& cache = *segment.cache;
  const std::int64_t keys = cache.kv_heads * cache.capacity * cache.head_dim;
  const std::int64_t values = cache.kv_heads * cache.capacity * cache.padded_dim();
  SegmentTask task;
  if (written) {
    task.keys = call.out(cache.keys, keys, Before::keep);
    task.values = call.out(cache.values, values, Before::keep);
  } else {
    task.keys = const_cast<float*>(call.in(static_cast<const float*>(cache.keys), keys));
    task.values = const_cast<float*>(call.in(static_cast<const float*>(cache.values), values));
  }
  task.capacity = cache.capacity;
  task.length = cache.length;
  task.row_begin = segment.row_begin;
  task.row_count = segment.row_count;
  return task;
}

AttentionShape shape_of(std::span<const KvSegment> segments, std::int64_t columns) {
  const KvCacheView& cache = *segments.front().cache;
  for (const KvSegment& segment : segments) {
    QUENCH_KERNEL_CHECK_EQ(segment.cache->kv_heads, cache.kv_heads);
    QUENCH_KERNEL_CHECK_EQ(segment.cache->head_dim, cache.head_dim);
  }
  AttentionShape shape;
  shape.kv_heads = cache.kv_heads;
  shape.head_dim = cache.head_dim;
  shape.heads = columns / cache.head_dim;
  return shape;
}

}  // namespace

void CudaBackend::append_kv(ConstMatrixView k, ConstMatrixView v, std::span<const KvSegment> segments) {
  QUENCH_KERNEL_CHECK_EQ(k.rows, v.rows);
  QUENCH_KERNEL_CHECK_EQ(k.cols, v.cols);
  if (segments.empty()) return;
  OperandCall call = begin();
  AppendKv append;
  append.shape = shape_of(segments, k.cols);
  QUENCH_KERNEL_CHECK_EQ(k.cols, append.shape.kv_heads * append.shape.head_dim);
  append.k = call.in(k);
  append.v = call.in(v);
  std::vector<SegmentTask> tasks;
  std::int64_t longest = 0;
  for (const KvSegment& segment : segments) {
    QUENCH_KERNEL_CHECK_LE(segment.row_begin + segment.row_count, k.rows);
    QUENCH_KERNEL_CHECK_LE(segment.cache->length + segment.row_count, segment.cache->capacity);
    tasks.push_back(segment_task(call, segment, true));
    longest = std::max(longest, segment.row_count);
  }
  append.segments = call.in(std::span<const SegmentTask>(tasks));
  // The first of the new keys may lie anywhere in its block.
  const std::int64_t key_blocks = blocks(longest + 15, 16);
  QUENCH_KERNEL_CHECK_LE(static_cast<std::int64_t>(segments.size()) * append.shape.kv_heads, kGridMax);
  if (longest > 0)
    device_->launch(append, {key_blocks, 1, static_cast<std::int64_t>(segments.size()) * append.shape.kv_heads});
  call.finish();
  for (const KvSegment& segment : segments) segment.cache->length += segment.row_count;
}

void CudaBackend::attention(ConstMatrixView q, std::span<const KvSegment> segments, float scale, MatrixView out) {
  QUENCH_KERNEL_CHECK_EQ(q.rows, out.rows);
  QUENCH_KERNEL_CHECK_EQ(q.cols, out.cols);
  if (segments.empty()) return;
  OperandCall call = begin();
  AttentionShape shape = shape_of(segments, q.cols);
  QUENCH_KERNEL_CHECK_EQ(q.cols % (shape.head_dim * shape.kv_heads), 0);
  std::vector<SegmentTask> tasks;
  std::int64_t keys = 0, most_rows = 0;
  for (const KvSegment& segment : segments) {
    QUENCH_KERNEL_CHECK_LE(segment.row_count, segment.cache->length);
    tasks.push_back(segment_task(call, segment, false));
    keys = std::max(keys, segment.cache->length);
    most_rows = std::max(most_rows, segment.row_count);
  }
  const auto count = static_cast<std::int64_t>(segments.size());
  QUENCH_KERNEL_CHECK_LE(count * shape.kv_heads, kGridMax);
  shape.score_stride = blocks(keys, 16) * 16;
  const ConstMatrixView from = call.in(q);
  // Rows of no segment are left alone.
  const MatrixView to = call.out(out, Before::keep);
  // As many tokens of every segment at once as there is room for scores.
  const std::int64_t at_once = std::max<std::int64_t>(
      1, std::min(kScoresMax / (count * shape.heads * std::max<std::int64_t>(shape.score_stride, 1)),
                  kGridMax / std::max<std::int64_t>(shape.per_kv(), 1)));
  const std::int64_t part = std::min(at_once, most_rows);
  float* scores = call.scratch<float>(count * shape.heads * part * shape.score_stride);
  float* sums = call.scratch<float>(count * shape.heads * part);
  for (std::int64_t first = 0; first < most_rows; first += part) {
    std::int64_t score_at = 0, sum_at = 0, rows = 0;
    for (SegmentTask& task : tasks) {
      task.first_token = first;
      task.tokens = std::clamp<std::int64_t>(task.row_count - first, 0, part);
      task.scores = score_at;
      task.sums = sum_at;
      score_at += task.tokens * shape.heads * shape.score_stride;
      sum_at += task.tokens * shape.heads;
      rows = std::max(rows, task.tokens * shape.per_kv());
    }
    const SegmentTask* table = call.in(std::span<const SegmentTask>(tasks));
    const std::int64_t z = count * shape.kv_heads;
    const std::int64_t key_tiles = blocks(keys, kTileCols), dim_tiles = blocks(shape.head_dim, kTileCols);
    const bool tall = rows >= kTallRows;
    if (tall)
      device_->launch(AttentionScoresTall{from, table, shape, scale, scores},
                      {key_tiles, blocks(rows, AttentionScoresTall::kRows), z});
    else
      device_->launch(AttentionScoresFlat{from, table, shape, scale, scores},
                      {key_tiles, blocks(rows, AttentionScoresFlat::kRows), z});
    device_->launch(AttentionSoftmax{table, shape, scores, sums}, {1, rows, z});
    if (tall)
      device_->launch(AttentionValuesTall{table, shape, scores, sums, to},
                      {dim_tiles, blocks(rows, AttentionValuesTall::kRows), z});
    else
      device_->launch(AttentionValuesFlat{table, shape, scores, sums, to},
                      {dim_tiles, blocks(rows, AttentionValuesFlat::kRows), z});
  }
  call.finish();
}

void CudaBackend::log_softmax(ConstMatrixView logits, MatrixView out) {
  QUENCH_KERNEL_CHECK_EQ(logits.rows, out.rows);
  QUENCH_KERNEL_CHECK_EQ(logits.cols, out.cols);
  if (logits.rows == 0) return;
  OperandCall call = begin();
  device_->launch(LogSoftmax{call.in(logits), call.out(out, Before::unset)}, {logits.rows});
  call.finish();
}

void CudaBackend::argmax(ConstMatrixView logits, std::span<std::int32_t> out) {
  QUENCH_KERNEL_CHECK_EQ(logits.rows, static_cast<std::int64_t>(out.size()));
  if (logits.rows == 0) return;
  OperandCall call = begin();
  device_->launch(ArgMax{call.in(logits), call.out(out.data(), logits.rows, Before::unset)}, {logits.rows});
  call.finish();
}

}  // namespace quench::kernels::cuda

namespace quench::kernels {

std::unique_ptr<Backend> make_cuda_backend(const CudaBackendOptions& options) {
  return std::make_unique<cuda::CudaBackend>(cuda::open_cuda_device(options.device),
                                             options.exact ? cuda::Arithmetic::exact : cuda::Arithmetic::tensor,
                                             options.host_threads);
}

int cuda_device_count() { return cuda::visible_device_count(); }

}  // namespace quench::kernels
