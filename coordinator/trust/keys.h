// Ed25519 keys as PEM files. OpenSSL's key handles stay behind keys.cc.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace quench::coordinator {

struct PublicKey {
  std::array<std::uint8_t, 32> bytes{};
  bool operator==(const PublicKey&) const = default;

  // SHA-256 of the SubjectPublicKeyInfo, 64 hexadecimal characters.
  std::string id() const;
  std::string pem() const;
  // `origin` names the text in errors. Throws Error(bad_input) for what is no public key, for a private key, and for
  // another kind of key than Ed25519 (named).
  static PublicKey from_pem(std::string_view text, const std::string& origin);
  bool verifies(std::string_view message, std::string_view signature) const;
};

class SigningKey {
 public:
  static SigningKey generate();
  // Throws Error(bad_input) as PublicKey::from_pem, and for a file that others may read.
  static SigningKey read(const std::filesystem::path& file);
  SigningKey(SigningKey&&) noexcept;
  SigningKey& operator=(SigningKey&&) = delete;
  ~SigningKey();

  PublicKey public_key() const;
  std::string sign(std::string_view message) const;  // 64 bytes
  // Writes a new file that only its owner may read. Throws Error(bad_input) when there is one.
  void write(const std::filesystem::path& file) const;

 private:
  struct Handle;
  explicit SigningKey(std::unique_ptr<Handle> handle);
  std::unique_ptr<Handle> handle_;
};

}  // namespace quench::coordinator
