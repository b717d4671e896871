// The safetensors file format: strict header parsing and writing. Refuses everything the format
// does not promise: holes, overlaps, duplicate keys, offsets outside the file, lengths that are not
// shape × dtype, headers over 100 MB. Reading tensors' bytes is the caller's (pread at offset).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quench {

enum class DType : std::uint16_t { f32, f16, bf16, f64, i8, u8, i16, i32, i64, boolean };

std::uint32_t dtype_bytes(DType dtype);
std::string_view to_string(DType dtype);  // "F32", "BF16", …

struct TensorEntry {
  DType dtype = DType::f32;
  std::vector<std::uint64_t> shape;
  std::uint64_t file_offset = 0;  // absolute, in bytes
  std::uint64_t bytes = 0;
};

struct SafetensorsHeader {
  std::map<std::string, TensorEntry> tensors;
  std::map<std::string, std::string> metadata;
};

// `head` is the file's beginning (8 + header length bytes at least); `file_bytes` the whole size.
// Throws Error(bad_input) naming `origin`, the tensor and the rule it breaks.
SafetensorsHeader parse_safetensors_header(std::span<const std::uint8_t> head, std::uint64_t file_bytes,
                                           const std::string& origin);
SafetensorsHeader read_safetensors_header(const std::filesystem::path& file);

// Where each tensor of a model directory lies: model.safetensors, or the shards that
// model.safetensors.index.json names. Checks that every shard exists and holds what the index says.
struct TensorLocation {
  std::filesystem::path file;
  TensorEntry entry;
};
std::map<std::string, TensorLocation> locate_tensors(const std::filesystem::path& model_dir);

// Writes tensors in name order through a callback-free two-step: header first, then the caller's
// bytes in the order of `entries`. The file is written beside and renamed into place by finish().
class SafetensorsWriter {
 public:
  struct Item {
    std::string name;
    DType dtype;
    std::vector<std::uint64_t> shape;
  };
  SafetensorsWriter(std::filesystem::path file, std::vector<Item> items,
                    const std::map<std::string, std::string>& metadata);
  ~SafetensorsWriter();  // removes the unfinished file
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;
  // Bytes of the items, in order, in pieces of any size. Throws Error(failed) on a full disk.
  void append(std::span<const std::uint8_t> bytes);
  void finish();

 private:
  std::filesystem::path file_;
  std::filesystem::path partial_;
  int descriptor_ = -1;
  std::uint64_t expected_bytes_ = 0;
  std::uint64_t written_bytes_ = 0;
};

}  // namespace quench
