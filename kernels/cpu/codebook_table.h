// What an instruction set offers for additive codebooks: single-thread kernels on panels of sixteen rows. Plain structs
// and function pointers only, as in kernel_table.h; all *exact*.
#pragma once

#include <cstdint>

namespace quench::kernels {

// Groups [group_begin, group_end) of one panel as [columns][16].
struct EntryPanel {
  const std::uint8_t* codes = nullptr;  // of group 0
  int code_bits = 16;
  int codebooks = 1;
  int group = 8;
  std::int64_t entry_count = 0;
  const float* entries = nullptr;
  const float* scales = nullptr;   // 16; null: the sums of entries alone
  const float* weights = nullptr;  // of group_begin on; null: ŵ, else weights - ŵ
  std::int64_t group_begin = 0;
  std::int64_t group_end = 0;
  float* out = nullptr;
};

// The entry with the least norm + entry · g of each row; the first of equals.
struct EntryScan {
  const float* entries = nullptr;  // [count][group]
  const float* norms = nullptr;    // [count]
  std::int64_t count = 0;
  int group = 8;
  int panels = 1;             // 1 or 2
  const float* g = nullptr;   // [panels][group][16]
  std::int32_t* index = nullptr;  // [panels][16]
};

// One or two panels over the groups of a block of columns; codebook.h says what a pass does.
struct BlockSearch {
  int panels = 1;
  int codebooks = 1;
  int group = 8;
  int sweeps = 1;
  bool feedback = false;
  std::int64_t entry_count = 0;
  const float* entries = nullptr;
  const float* norms = nullptr;   // [groups of the block][codebooks][entry_count]: c · Q c
  const float* metric = nullptr;  // [groups of the block][group][group]
  const float* coupling = nullptr;  // row c of the block at coupling + c * coupling_stride, column 0 the block's first
  std::int64_t coupling_stride = 0;
  std::int64_t columns = 0;  // of the block
  const float* scales[2] = {};
  const float* weights[2] = {};  // the block's first column, [columns][16]
  float* residual[2] = {};
  float* products[2] = {};  // column c at products + c * product_stride
  std::int64_t product_stride = 0;
  std::uint16_t* codes[2] = {};  // the block's first group, [groups][codebooks][16]
};

struct CodebookTable {
  void (*expand_entries)(const EntryPanel& panel);
  // norms[e] = entry e · Q entry e; `columns` is [group][count rounded up to 16], entry after entry as lanes.
  void (*entry_norms)(const float* columns, std::int64_t count, int group, const float* metric, float* norms);
  void (*scan_entries)(const EntryScan& scan);
  void (*search_block)(const BlockSearch& block);
};

namespace scalar {
void fill_codebook(CodebookTable& table);
}
namespace avx2 {
void fill_codebook(CodebookTable& table);
}
namespace avx512 {
void fill_codebook(CodebookTable& table);
}

}  // namespace quench::kernels
