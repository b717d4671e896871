// A model directory of another tool: its config, what it says of its quantization, and its tensors.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/store/commit.h"
#include "schemas/model_config.h"
#include "schemas/safetensors.h"

namespace quench::coordinator {

class Checkpoint {
 public:
  // Throws Error(bad_input) naming the file when it is broken, or when quantize_config.json and config.json say different things.
  explicit Checkpoint(const std::filesystem::path& directory);

  const ModelConfig& config() const { return config_; }
  // config.json without what it says of the quantization.
  const std::string& config_text() const { return config_text_; }
  // null: not quantized.
  const nlohmann::json& quantization() const { return quantization_; }
  // "config.json: quantization_config", for errors.
  const std::string& quantization_place() const { return quantization_place_; }
  const std::filesystem::path& directory() const { return directory_; }

  bool has(const std::string& tensor) const { return locations_.contains(tensor); }
  bool is_used(const std::string& tensor) const { return used_.contains(tensor); }
  const TensorEntry& entry(const std::string& tensor) const;
  std::string place(const std::string& tensor) const;

  // A range of a tensor's bytes, and the tensor marked as used. Throws Error(bad_input) when it is missing or the file ends.
  Bytes read(const std::string& tensor, std::uint64_t offset, std::uint64_t bytes);
  // All values of a tensor of that type and shape.
  template <typename T>
  std::vector<T> values(const std::string& tensor, DType type, const std::vector<std::uint64_t>& shape) {
    check(tensor, type, shape);
    const Bytes bytes = read(tensor, 0, entry(tensor).bytes);
    std::vector<T> all(bytes.size() / sizeof(T));
    std::copy_n(bytes.data(), bytes.size(), reinterpret_cast<std::uint8_t*>(all.data()));
    return all;
  }
  // Scales of any float type, [rows][columns] as `shape` says, as fp16 bits; finite and not 0.
  std::vector<std::uint16_t> scales(const std::string& tensor, const std::vector<std::uint64_t>& shape);
  // Throws Error(bad_input) naming a tensor that nobody read: a model of another kind, or a part that would be lost.
  void check_all_used() const;

 private:
  void check(const std::string& tensor, DType type, const std::vector<std::uint64_t>& shape) const;

  std::filesystem::path directory_;
  std::map<std::string, TensorLocation> locations_;
  std::set<std::string> used_;
  ModelConfig config_;
  std::string config_text_;
  nlohmann::json quantization_;
  std::string quantization_place_;
};

// A key of `quantization()`; throws Error(bad_input) naming place, key, what was found and what was expected.
std::int64_t integer_of(const Checkpoint& checkpoint, const nlohmann::json& object, const char* key, std::int64_t least, std::int64_t most);
bool flag_of(const Checkpoint& checkpoint, const nlohmann::json& object, const char* key, bool fallback);
std::string text_of(const Checkpoint& checkpoint, const nlohmann::json& object, const char* key, const std::string& fallback);
[[noreturn]] void refuse(const Checkpoint& checkpoint, const std::string& what);

}  // namespace quench::coordinator
