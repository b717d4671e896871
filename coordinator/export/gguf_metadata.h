// The keys and values at the top of a GGUF file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/codec.h"

namespace quench::coordinator {

// Little-endian fields of the format, one after the other.
class GgufFields {
 public:
  void byte(std::uint8_t value) { bytes_.push_back(value); }
  void u32(std::uint32_t value);
  void u64(std::uint64_t value);
  void text(std::string_view value);  // u64 length, bytes
  const Bytes& bytes() const { return bytes_; }

 private:
  Bytes bytes_;
};

// Keys with values, counted.
class GgufMetadata {
 public:
  void put_u32(std::string_view key, std::uint32_t value);
  void put_f32(std::string_view key, float value);
  void put_bool(std::string_view key, bool value);
  void put_text(std::string_view key, std::string_view value);
  void put_texts(std::string_view key, const std::vector<std::string>& values);
  void put_i32s(std::string_view key, const std::vector<std::int32_t>& values);
  void put_f32s(std::string_view key, const std::vector<float>& values);
  std::uint64_t count() const { return count_; }
  const Bytes& bytes() const { return fields_.bytes(); }

 private:
  void key(std::string_view name, std::uint32_t type);
  GgufFields fields_;
  std::uint64_t count_ = 0;
};

}  // namespace quench::coordinator
