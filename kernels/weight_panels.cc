#include "kernels/weight_panels.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace quench::kernels {
namespace {

// Columns and bytes of one line of a packed panel.
struct Line {
  std::int64_t columns;
  std::int64_t bytes;
};
Line line_of(int bits) {
  switch (bits) {
    case 8:
      return {4, 64};
    case 4:
      return {8, 64};
    case 3:
      return {32, 192};
    case 2:
      return {16, 64};
    default:
      kernel_check_failed("bits is 8, 4, 3 or 2", __FILE__, __LINE__, bits, 0);
  }
}

constexpr std::uint16_t kHalfOne = 0x3c00;  // the scale of rows beyond the last; their codes are zero

// Words are little-endian in memory on every machine.
void write_word(std::uint8_t* word, std::uint32_t value) {
  for (int b = 0; b < 4; ++b) word[b] = static_cast<std::uint8_t>(value >> (8 * b));
}
std::uint32_t read_word(const std::uint8_t* word) {
  return static_cast<std::uint32_t>(word[0]) | static_cast<std::uint32_t>(word[1]) << 8 |
         static_cast<std::uint32_t>(word[2]) << 16 | static_cast<std::uint32_t>(word[3]) << 24;
}

// The words of one row in one line: `count` codes, fewer than the line's columns at the row's end.
void pack_line(int bits, const std::uint8_t* codes, std::int64_t count, std::uint8_t* line,
               std::int64_t row) {
  if (bits == 3) {
    std::uint32_t low[2] = {0, 0}, high = 0;
    for (std::int64_t j = 0; j < count; ++j) {
      low[j / 16] |= (codes[j] & 3u) << (2 * (j % 16));
      high |= static_cast<std::uint32_t>(codes[j] >> 2) << j;
    }
    write_word(line + row * 4, low[0]);
    write_word(line + 64 + row * 4, low[1]);
    write_word(line + 128 + row * 4, high);
    return;
  }
  std::uint32_t word = 0;
  for (std::int64_t j = 0; j < count; ++j) word |= static_cast<std::uint32_t>(codes[j]) << (bits * j);
  write_word(line + row * 4, word);
}
void unpack_line(int bits, const std::uint8_t* line, std::int64_t row, std::int64_t count,
                 std::uint8_t* codes) {
  if (bits == 3) {
    const std::uint32_t low[2] = {read_word(line + row * 4), read_word(line + 64 + row * 4)};
    const std::uint32_t high = read_word(line + 128 + row * 4);
    for (std::int64_t j = 0; j < count; ++j) {
      codes[j] = static_cast<std::uint8_t>((low[j / 16] >> (2 * (j % 16)) & 3u) | (high >> j & 1u) << 2);
    }
    return;
  }
  const std::uint32_t word = read_word(line + row * 4), mask = (1u << bits) - 1u;
  for (std::int64_t j = 0; j < count; ++j) codes[j] = static_cast<std::uint8_t>(word >> (bits * j) & mask);
}

// One dense panel from `rows` rows: sixteen sequential reads, one sequential write.
template <std::size_t FromBytes, std::size_t ToBytes, typename Convert>
void interleave_rows(const std::uint8_t* from, std::size_t row_bytes, std::int64_t rows, std::int64_t cols,
                     std::uint8_t* out, const Convert& convert) {
  for (std::size_t k = 0; k < static_cast<std::size_t>(cols); ++k) {
    std::uint8_t* column = out + k * kPanelRows * ToBytes;
    std::size_t lane = 0;
    for (; lane < static_cast<std::size_t>(rows); ++lane) {
      convert(from + lane * row_bytes + k * FromBytes, column + lane * ToBytes);
    }
    std::memset(column + lane * ToBytes, 0, (kPanelRows - lane) * ToBytes);
  }
}

// Weights are read in several streams at once, each of which needs a new page every 4 KiB: with pages of 2 MiB one core reads
// them a sixth faster (Zen 4). A hint: where the kernel has none to give, memory is as usual. What does not fill a page stays
// in small ones, so that nothing more becomes resident.
class HugePages final : public BufferSource {
 public:
  static constexpr std::size_t kPageBytes = std::size_t{2} << 20;
  void* allocate(std::size_t bytes) override {
    void* const memory = std::aligned_alloc(kPageBytes, (bytes + kPageBytes - 1) / kPageBytes * kPageBytes);
    if (memory != nullptr) ::madvise(memory, bytes / kPageBytes * kPageBytes, MADV_HUGEPAGE);
    return memory;
  }
  void release(void* memory) noexcept override { std::free(memory); }
};

// For buffers of the host's own that hold a page or more.
BufferSource* pages_for(std::size_t bytes, Memory* memory) {
  static HugePages pages;
  if (memory != nullptr) return memory;
  return bytes >= HugePages::kPageBytes ? &pages : nullptr;
}

std::size_t dense_bytes(WeightFormat format) { return format == WeightFormat::f32 ? 4 : 2; }

}  // namespace

WeightFormat packed_format(int bits) noexcept {
  switch (bits) {
    case 8:
      return WeightFormat::q8;
    case 4:
      return WeightFormat::q4;
    case 3:
      return WeightFormat::q3;
    case 2:
      return WeightFormat::q2;
    default:
      kernel_check_failed("bits is 8, 4, 3 or 2", __FILE__, __LINE__, bits, 0);
  }
}

int code_bits(WeightFormat format) noexcept {
  switch (format) {
    case WeightFormat::q8:
      return 8;
    case WeightFormat::q4:
      return 4;
    case WeightFormat::q3:
      return 3;
    case WeightFormat::q2:
      return 2;
    default:
      return 0;
  }
}

std::size_t panel_bytes(WeightFormat format, std::int64_t cols) noexcept {
  if (code_bits(format) == 0) return static_cast<std::size_t>(cols * kPanelRows) * dense_bytes(format);
  const Line line = line_of(code_bits(format));
  return static_cast<std::size_t>((cols + line.columns - 1) / line.columns * line.bytes);
}

std::int64_t group_count(std::int64_t cols, std::int64_t group_size) noexcept {
  return group_size < 0 ? 1 : (cols + group_size - 1) / group_size;
}

WeightPanels WeightPanels::allocate(WeightFormat format, std::int64_t rows, std::int64_t cols,
                                    std::int64_t group_size, Memory* memory) {
  WeightPanels w;
  w.format = format;
  w.rows = rows;
  w.cols = cols;
  w.group_size = group_size;
  const std::size_t bytes = static_cast<std::size_t>(panel_count(rows)) * panel_bytes(format, cols);
  w.panels = AlignedBuffer<std::uint8_t>(bytes, pages_for(bytes, memory));
  if (code_bits(format) != 0) {
    const std::size_t count =
        static_cast<std::size_t>(panel_count(rows) * group_count(cols, group_size) * kPanelRows);
    w.scales = AlignedBuffer<std::uint16_t>(count, memory);
    w.zeros = AlignedBuffer<std::uint8_t>(count, memory);
  }
  return w;
}

void WeightPanels::to_device(Memory* memory) const {
  kernels::to_device(memory, std::span(panels.data(), panels.size()));
  kernels::to_device(memory, std::span(scales.data(), scales.size()));
  kernels::to_device(memory, std::span(zeros.data(), zeros.size()));
}

std::size_t WeightPanels::bytes() const { return panels.size() + scales.size() * 2 + zeros.size(); }

WeightView WeightPanels::view() const {
  return {format, rows, cols, group_size, panels.data(), scales.data(), zeros.data()};
}

void pack_dense(const void* source, ElementType source_type, WeightPanels& to) noexcept {
  const std::uint8_t* bytes = static_cast<const std::uint8_t*>(source);
  const std::size_t size = element_bytes(source_type);
  const bool same = (to.format == WeightFormat::f32 && source_type == ElementType::f32) ||
                    (to.format == WeightFormat::f16 && source_type == ElementType::f16) ||
                    (to.format == WeightFormat::bf16 && source_type == ElementType::bf16);
  if (!same) QUENCH_KERNEL_CHECK_EQ(static_cast<int>(to.format), static_cast<int>(WeightFormat::f32));
  const std::size_t row_bytes = static_cast<std::size_t>(to.cols) * size;
  for (std::int64_t panel = 0; panel < panel_count(to.rows); ++panel) {
    const std::int64_t first = panel * kPanelRows;
    const std::int64_t rows = std::min(kPanelRows, to.rows - first);
    const std::uint8_t* from = bytes + static_cast<std::size_t>(first) * row_bytes;
    std::uint8_t* out = to.panels.data() + static_cast<std::size_t>(panel) * panel_bytes(to.format, to.cols);
    if (!same) {
      interleave_rows<2, 4>(from, row_bytes, rows, to.cols, out,
                            [&](const std::uint8_t* value_in, std::uint8_t* value_out) {
                              float value;
                              convert_to_f32(value_in, source_type, 1, &value);
                              std::memcpy(value_out, &value, 4);
                            });
    } else if (size == 4) {
      interleave_rows<4, 4>(
          from, row_bytes, rows, to.cols, out,
          [](const std::uint8_t* value_in, std::uint8_t* value_out) { std::memcpy(value_out, value_in, 4); });
    } else {
      interleave_rows<2, 2>(
          from, row_bytes, rows, to.cols, out,
          [](const std::uint8_t* value_in, std::uint8_t* value_out) { std::memcpy(value_out, value_in, 2); });
    }
  }
}

void pack_panel(int bits, const std::uint8_t* codes, std::int64_t rows, std::int64_t cols,
                std::int64_t stride, std::uint8_t* panel) noexcept {
  const Line line = line_of(bits);
  std::memset(panel, 0, panel_bytes(packed_format(bits), cols));
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t k = 0; k < cols; k += line.columns) {
      pack_line(bits, codes + row * stride + k, std::min(line.columns, cols - k),
                panel + k / line.columns * line.bytes, row);
    }
  }
}

void unpack_panel(int bits, const std::uint8_t* panel, std::int64_t rows, std::int64_t cols,
                  std::int64_t stride, std::uint8_t* codes) noexcept {
  const Line line = line_of(bits);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t k = 0; k < cols; k += line.columns) {
      unpack_line(bits, panel + k / line.columns * line.bytes, row, std::min(line.columns, cols - k),
                  codes + row * stride + k);
    }
  }
}

void pack_codes(const std::uint8_t* codes, const std::uint16_t* scales, const std::uint8_t* zeros,
                WeightPanels& to) noexcept {
  const int bits = code_bits(to.format);
  const std::int64_t groups = group_count(to.cols, to.group_size);
  for (std::int64_t panel = 0; panel < panel_count(to.rows); ++panel) {
    const std::int64_t first = panel * kPanelRows;
    const std::int64_t rows = to.rows - first < kPanelRows ? to.rows - first : kPanelRows;
    pack_panel(bits, codes + first * to.cols, rows, to.cols, to.cols,
               to.panels.data() + static_cast<std::size_t>(panel) * panel_bytes(to.format, to.cols));
    for (std::int64_t group = 0; group < groups; ++group) {
      for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
        const std::size_t at = static_cast<std::size_t>((panel * groups + group) * kPanelRows + lane);
        const std::int64_t from = (first + lane) * groups + group;
        to.scales[at] = lane < rows ? scales[from] : kHalfOne;
        to.zeros[at] = lane < rows ? zeros[from] : std::uint8_t{0};
      }
    }
  }
}

void unpack_codes(const WeightView& from, std::uint8_t* codes) noexcept {
  const int bits = code_bits(from.format);
  const std::size_t size = panel_bytes(from.format, from.cols);
  for (std::int64_t panel = 0; panel < panel_count(from.rows); ++panel) {
    const std::int64_t first = panel * kPanelRows;
    const std::int64_t rows = from.rows - first < kPanelRows ? from.rows - first : kPanelRows;
    unpack_panel(bits, static_cast<const std::uint8_t*>(from.panels) + static_cast<std::size_t>(panel) * size,
                 rows, from.cols, from.cols, codes + first * from.cols);
  }
}

void dequantize(const WeightView& from, MatrixView out) noexcept {
  QUENCH_KERNEL_CHECK_EQ(out.rows, from.rows);
  QUENCH_KERNEL_CHECK_EQ(out.cols, from.cols);
  const int bits = code_bits(from.format);
  const std::size_t size = panel_bytes(from.format, from.cols);
  const std::int64_t group_size = from.group_size < 0 ? from.cols : from.group_size;
  const std::int64_t groups = group_count(from.cols, from.group_size);
  for (std::int64_t row = 0; row < from.rows; ++row) {
    const std::int64_t panel = row / kPanelRows, lane = row % kPanelRows;
    const std::uint8_t* base =
        static_cast<const std::uint8_t*>(from.panels) + static_cast<std::size_t>(panel) * size;
    float* to = out.row(row);
    if (bits == 0) {
      const ElementType type = from.format == WeightFormat::f32   ? ElementType::f32
                               : from.format == WeightFormat::f16 ? ElementType::f16
                                                                  : ElementType::bf16;
      for (std::int64_t k = 0; k < from.cols; ++k) {
        convert_to_f32(base + static_cast<std::size_t>(k * kPanelRows + lane) * element_bytes(type), type, 1,
                       to + k);
      }
      continue;
    }
    const Line line = line_of(bits);
    std::uint8_t codes[32];
    for (std::int64_t k = 0; k < from.cols; ++k) {
      const std::int64_t j = k % line.columns;
      if (j == 0) {
        unpack_line(bits, base + k / line.columns * line.bytes, lane, std::min(line.columns, from.cols - k),
                    codes);
      }
      const std::int64_t at = (panel * groups + k / group_size) * kPanelRows + lane;
      to[k] =
          (static_cast<float>(codes[j]) - static_cast<float>(from.zeros[at])) * f16_to_f32(from.scales[at]);
    }
  }
}

float f16_to_f32(std::uint16_t bits) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t magnitude = bits & 0x7fffu;
  if (magnitude < 0x400u) {
    const float value = static_cast<float>(magnitude) * 0x1p-24f;
    return sign != 0 ? -value : value;
  }
  const std::uint32_t word = sign | ((magnitude << 13) + (magnitude >= 0x7c00u ? 0x70000000u : 0x38000000u));
  float value;
  std::memcpy(&value, &word, 4);
  return value;
}

std::uint16_t f32_to_f16(float value) noexcept {
  std::uint32_t word;
  std::memcpy(&word, &value, 4);
  const std::uint32_t sign = word >> 16 & 0x8000u;
  const std::uint32_t magnitude = word & 0x7fffffffu;
  std::uint32_t half;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u | (magnitude >> 13 & 0x3ffu);
  } else if (magnitude >= 0x477ff000u) {
    half = 0x7c00u;
  } else if (magnitude < 0x38800000u) {
    // Below 2^-14: adding 1/2, whose last place is 2^-24, rounds to a subnormal.
    float absolute;
    std::memcpy(&absolute, &magnitude, 4);
    absolute += 0.5f;
    std::uint32_t shifted;
    std::memcpy(&shifted, &absolute, 4);
    half = shifted - 0x3f000000u;
  } else {
    half = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
  }
  return static_cast<std::uint16_t>(sign | half);
}

float bf16_to_f32(std::uint16_t bits) noexcept {
  const std::uint32_t word = static_cast<std::uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &word, 4);
  return value;
}

void convert_to_f32(const void* source, ElementType type, std::size_t count, float* out) noexcept {
  const std::uint8_t* bytes = static_cast<const std::uint8_t*>(source);
  if (type == ElementType::f32) {
    std::memcpy(out, bytes, count * 4);
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    std::uint16_t half;
    std::memcpy(&half, bytes + 2 * i, 2);
    out[i] = type == ElementType::f16 ? f16_to_f32(half) : bf16_to_f32(half);
  }
}

}  // namespace quench::kernels
