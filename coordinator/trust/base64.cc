#include "coordinator/trust/base64.h"

#include <openssl/evp.h>

#include "schemas/error.h"

namespace quench::coordinator {

std::string to_base64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int length = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                     reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(length));
  return text;
}

std::string from_base64(std::string_view text) {
  const auto invalid = [] { return Error(ErrorCode::corrupt, "a field of a signature is not base64"); };
  if (text.size() % 4 != 0 || text.size() > (1u << 30)) throw invalid();
  if (text.empty()) return {};
  std::string bytes(text.size() / 4 * 3, '\0');
  const int length = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                     reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (length < 0) throw invalid();
  // EVP_DecodeBlock counts the padding as bytes.
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  bytes.resize(static_cast<std::size_t>(length) - padding);
  // One text for one value: what does not encode back had bits, spaces or padding of its own.
  if (to_base64(bytes) != text) throw invalid();
  return bytes;
}

}  // namespace quench::coordinator
