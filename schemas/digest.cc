#include "schemas/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <cerrno>
#include <fstream>
#include <vector>

#include "schemas/error.h"

namespace quench {
namespace {

constexpr char kHexDigits[] = "0123456789abcdef";
constexpr std::size_t kFileBufferBytes = 1 << 20;

int hex_value(char character) {
  if (character >= '0' && character <= '9') return character - '0';
  if (character >= 'a' && character <= 'f') return character - 'a' + 10;
  if (character >= 'A' && character <= 'F') return character - 'A' + 10;
  return -1;
}

}  // namespace

std::string Digest::hex() const {
  std::string text;
  text.reserve(64);
  for (std::uint8_t byte : bytes) {
    text.push_back(kHexDigits[byte >> 4]);
    text.push_back(kHexDigits[byte & 15]);
  }
  return text;
}

std::string Digest::short_hex() const { return hex().substr(0, 12); }

Digest Digest::from_hex(std::string_view text) {
  Digest digest;
  bool valid = text.size() == 64;
  for (std::size_t i = 0; valid && i < 32; ++i) {
    const int high = hex_value(text[2 * i]);
    const int low = hex_value(text[2 * i + 1]);
    valid = high >= 0 && low >= 0;
    if (valid) digest.bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  if (!valid)
    throw Error(ErrorCode::bad_input,
                "\"" + std::string(text) + "\" is not a digest: expected 64 hexadecimal characters");
  return digest;
}

Digest Digest::from_bytes(std::span<const std::uint8_t> raw) {
  if (raw.size() != 32)
    throw Error(ErrorCode::corrupt, "a digest has " + std::to_string(raw.size()) + " bytes, expected 32");
  Digest digest;
  std::copy(raw.begin(), raw.end(), digest.bytes.begin());
  return digest;
}

struct Hasher::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Hasher::Hasher() : state_(std::make_unique<State>()) {
  QUENCH_CHECK(EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) == 1);
}
Hasher::~Hasher() = default;

Hasher& Hasher::update(std::span<const std::uint8_t> bytes) {
  QUENCH_CHECK(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1);
  return *this;
}

Hasher& Hasher::update(std::string_view text) {
  return update(std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}

Hasher& Hasher::update_u64(std::uint64_t value) {
  std::array<std::uint8_t, 8> raw;
  for (int i = 0; i < 8; ++i) raw[i] = static_cast<std::uint8_t>(value >> (8 * i));
  return update(raw);
}

Digest Hasher::finish() {
  Digest digest;
  unsigned length = 0;
  QUENCH_CHECK(EVP_DigestFinal_ex(state_->context, digest.bytes.data(), &length) == 1);
  QUENCH_CHECK(length == 32, length);
  return digest;
}

Digest sha256(std::span<const std::uint8_t> bytes) { return Hasher().update(bytes).finish(); }
Digest sha256(std::string_view text) { return Hasher().update(text).finish(); }

Digest sha256_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw errno_error(ErrorCode::bad_input, "cannot open " + path.string(), errno);
  Hasher hasher;
  std::vector<char> buffer(kFileBufferBytes);
  while (file.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || file.gcount() > 0)
    hasher.update(std::string_view(buffer.data(), static_cast<std::size_t>(file.gcount())));
  if (file.bad()) throw errno_error(ErrorCode::bad_input, "cannot read " + path.string(), errno);
  return hasher.finish();
}

Digest hmac_sha256(std::string_view key, std::string_view text) {
  Digest digest;
  unsigned length = 0;
  const unsigned char* done =
      HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
           reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.bytes.data(), &length);
  QUENCH_CHECK(done != nullptr && length == 32, length);
  return digest;
}

bool equal_constant_time(const Digest& a, const Digest& b) {
  return CRYPTO_memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()) == 0;
}

}  // namespace quench
