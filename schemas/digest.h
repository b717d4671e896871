// SHA-256 digests: the names of chunks, manifests, models and calibration sets.
// Value types; safe from any thread (one Hasher belongs to one thread).
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace quench {

// 32 bytes of SHA-256. The default is all zeros, which no content is expected to have ("none").
struct Digest {
  std::array<std::uint8_t, 32> bytes{};
  auto operator<=>(const Digest&) const = default;

  std::string hex() const;        // 64 lower-case characters
  std::string short_hex() const;  // the first 12
  bool is_none() const { return *this == Digest{}; }
  std::span<const std::uint8_t> span() const { return bytes; }
  // Throws Error(bad_input) unless `text` is 64 hexadecimal characters.
  static Digest from_hex(std::string_view text);
  // Throws Error(corrupt) unless `raw` has 32 bytes.
  static Digest from_bytes(std::span<const std::uint8_t> raw);
};

// Incremental SHA-256 (OpenSSL). finish() may be called once.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(const Hasher&) = delete;
  Hasher& operator=(const Hasher&) = delete;
  Hasher& update(std::span<const std::uint8_t> bytes);
  Hasher& update(std::string_view text);
  // Eight little-endian bytes; used to put lengths before variable fields.
  Hasher& update_u64(std::uint64_t value);
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Digest sha256(std::span<const std::uint8_t> bytes);
Digest sha256(std::string_view text);
// Streams the file. Throws Error(bad_input) when it cannot be read.
Digest sha256_file(const std::filesystem::path& path);
// HMAC-SHA-256 of `text` under `key`; proves the gang's shared secret without sending it.
Digest hmac_sha256(std::string_view key, std::string_view text);
// Compares in time independent of the contents.
bool equal_constant_time(const Digest& a, const Digest& b);

}  // namespace quench
