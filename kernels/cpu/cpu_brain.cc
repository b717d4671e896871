// Products of bf16 on threads.
#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/cpu/cpu_backend.h"

namespace quench::kernels {
namespace {

// A chain is folded into y after so many columns at most, so that a tile's words stay in the first-level cache whatever the
// group size. Part of the result.
constexpr std::int64_t kSegmentColumns = 256;
// Rows of x in flight, a multiple of 12, 4 and 2: their words stay in the second-level cache.
constexpr std::int64_t kBlockRows = 480;
// Less work than this is not worth waking a thread for.
constexpr std::int64_t kGrainProducts = 1 << 17;
constexpr std::int64_t kGrainElements = 1 << 14;

// How a line of a panel is cut in words of two columns.
struct LineWords {
  std::int64_t columns = 0;
  std::vector<std::int64_t> low, high;  // column of each half, by word
};
LineWords words_of_line(WeightFormat format) {
  switch (format) {
    case WeightFormat::q8: return {4, {0, 0, 1, 1}, {2, 2, 3, 3}};
    case WeightFormat::q4: return {8, {0, 1, 2, 3}, {4, 5, 6, 7}};
    case WeightFormat::q2: return {16, {0, 1, 2, 3, 4, 5, 6, 7}, {8, 9, 10, 11, 12, 13, 14, 15}};
    case WeightFormat::q3: {
      LineWords line = words_of_line(WeightFormat::q2);
      for (std::size_t i = 0; i < 8; ++i) {
        line.low.push_back(line.low[i] + 16);
        line.high.push_back(line.high[i] + 16);
      }
      line.columns = 32;
      return line;
    }
    default: return {2, {0}, {1}};
  }
}

struct Segment {
  std::int64_t begin = 0, end = 0;  // columns
};

}  // namespace

void CpuBackend::brain_gemm(ConstMatrixView x, const WeightView& weight, MatrixView y) noexcept {
  const LineWords line = words_of_line(weight.format);
  const auto line_words = static_cast<std::int64_t>(line.low.size());
  const bool dense = code_bits(weight.format) == 0;
  const std::int64_t group_size = dense || weight.group_size < 0 ? weight.cols : weight.group_size;
  std::vector<Segment> columns;
  std::vector<BrainSegment> segments;
  std::int64_t words = 0, longest = 0;  // of one row
  for (std::int64_t begin = 0, end = 0; begin < weight.cols; begin = end) {
    const std::int64_t group = begin / group_size;
    end = std::min({weight.cols, (group + 1) * group_size, begin + kSegmentColumns});
    BrainSegment segment;
    segment.group = group;
    segment.first_line = begin / line.columns;
    segment.lines = (end + line.columns - 1) / line.columns - segment.first_line;
    columns.push_back({begin, end});
    segments.push_back(segment);
    words += segment.lines * line_words;
    longest = std::max(longest, segment.lines * line_words);
  }
  const auto count = static_cast<std::int64_t>(segments.size());

  BrainBlock block;
  block.segments = segments.data();
  block.segment_count = count;
  block.lines = (weight.cols + line.columns - 1) / line.columns;
  block.words_per_line = line_words;
  block.groups = group_count(weight.cols, group_size);
  block.weight = weight;
  block.y_stride = y.stride;
  const std::int64_t panels = panel_count(weight.rows);
  // Rounded rows have room for whole lines at both ends of a segment.
  const std::int64_t padded = block.lines * line.columns;
  for (std::int64_t first = 0; first < x.rows; first += kBlockRows) {
    const std::int64_t rows = std::min(kBlockRows, x.rows - first);
    auto* rounded = reinterpret_cast<std::uint16_t*>(shared_second_.floats((rows * padded + 1) / 2));
    auto* packed = reinterpret_cast<std::uint32_t*>(shared_.floats(rows * words));
    row_scales_.resize(static_cast<std::size_t>(rows * count));
    float* sums = row_scales_.data();
    std::vector<std::int64_t> starts;  // of micro-panels, and the end
    for (std::int64_t row = 0; row < rows; row += micro_panel_rows(rows - row, table_.pair_rows)) starts.push_back(row);
    starts.push_back(rows);
    pool_.for_range(std::ssize(starts) - 1, kGrainElements / (table_.pair_rows * padded) + 1, [&](int, std::int64_t begin, std::int64_t end) {
      for (std::int64_t m = begin; m < end; ++m) {
        const std::int64_t from = starts[static_cast<std::size_t>(m)], to = starts[static_cast<std::size_t>(m) + 1], used = to - from;
        for (std::int64_t row = from; row < to; ++row) {
          std::uint16_t* values = rounded + row * padded;
          table_.brain_row(x.row(first + row), x.cols, values);
          std::memset(values + x.cols, 0, static_cast<std::size_t>(padded - x.cols) * 2);
        }
        std::int64_t before = 0;
        for (std::int64_t s = 0; s < count; ++s) {
          const BrainSegment& segment = segments[static_cast<std::size_t>(s)];
          const Segment& own = columns[static_cast<std::size_t>(s)];
          const std::int64_t segment_words = segment.lines * line_words;
          std::uint32_t* out = packed + rows * before + from * segment_words;
          const bool whole = own.begin % line.columns == 0 && (own.end % line.columns == 0 || own.end == weight.cols);
          for (std::int64_t row = from; row < to; ++row) {
            const std::uint16_t* values = rounded + row * padded;
            sums[s * rows + row] = dense ? 0.0f : table_.brain_sum(values + own.begin, own.end - own.begin);
            const auto at = [&](std::int64_t column) {
              return whole || (column >= own.begin && column < own.end) ? std::uint32_t{values[column]} : 0u;
            };
            std::uint32_t* word = out + (row - from);
            for (std::int64_t l = segment.first_line; l < segment.first_line + segment.lines; ++l)
              for (std::size_t j = 0; j < line.low.size(); ++j, word += used)
                *word = at(l * line.columns + line.low[j]) | at(l * line.columns + line.high[j]) << 16;
          }
          before += segment_words;
        }
      }
    });
    block.x = packed;
    block.sums = sums;
    block.rows = rows;
    block.y = y.row(first);
    const std::int64_t together = rows == 1 ? 1 : table_.gemm_panels;
    const std::int64_t units = (panels + together - 1) / together;
    const std::int64_t grain = kGrainProducts / (16 * together * rows * std::max<std::int64_t>(x.cols, 1)) + 1;
    pool_.for_range(units, grain, [&](int thread, std::int64_t begin, std::int64_t end) {
      BrainBlock part = block;
      part.panel_begin = begin * together;
      part.panel_end = std::min(panels, end * together);
      part.scratch = reinterpret_cast<std::uint32_t*>(own_[static_cast<std::size_t>(thread)].floats(longest * 16 * table_.gemm_panels));
      table_.brain_block(part);
    });
  }
}

}  // namespace quench::kernels
