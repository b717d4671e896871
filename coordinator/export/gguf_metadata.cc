#include "coordinator/export/gguf_metadata.h"

#include <bit>

namespace quench::coordinator {
namespace {

constexpr std::uint32_t kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kText = 8, kArray = 9;

}  // namespace

void GgufFields::u32(std::uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) bytes_.push_back(static_cast<std::uint8_t>(value >> shift));
}

void GgufFields::u64(std::uint64_t value) {
  u32(static_cast<std::uint32_t>(value));
  u32(static_cast<std::uint32_t>(value >> 32));
}

void GgufFields::text(std::string_view value) {
  u64(value.size());
  bytes_.insert(bytes_.end(), value.begin(), value.end());
}

void GgufMetadata::key(std::string_view name, std::uint32_t type) {
  fields_.text(name);
  fields_.u32(type);
  ++count_;
}

void GgufMetadata::put_u32(std::string_view name, std::uint32_t value) {
  key(name, kU32);
  fields_.u32(value);
}

void GgufMetadata::put_f32(std::string_view name, float value) {
  key(name, kF32);
  fields_.u32(std::bit_cast<std::uint32_t>(value));
}

void GgufMetadata::put_bool(std::string_view name, bool value) {
  key(name, kBool);
  fields_.byte(value ? 1 : 0);
}

void GgufMetadata::put_text(std::string_view name, std::string_view value) {
  key(name, kText);
  fields_.text(value);
}

void GgufMetadata::put_texts(std::string_view name, const std::vector<std::string>& values) {
  key(name, kArray);
  fields_.u32(kText);
  fields_.u64(values.size());
  for (const std::string& value : values) fields_.text(value);
}

void GgufMetadata::put_i32s(std::string_view name, const std::vector<std::int32_t>& values) {
  key(name, kArray);
  fields_.u32(kI32);
  fields_.u64(values.size());
  for (const std::int32_t value : values) fields_.u32(static_cast<std::uint32_t>(value));
}

void GgufMetadata::put_f32s(std::string_view name, const std::vector<float>& values) {
  key(name, kArray);
  fields_.u32(kF32);
  fields_.u64(values.size());
  for (const float value : values) fields_.u32(std::bit_cast<std::uint32_t>(value));
}

}  // namespace quench::coordinator
