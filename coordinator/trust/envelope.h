// DSSE envelopes (github.com/secure-systems-lab/dsse, v1): a payload with its type, and signatures over both.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/trust/keys.h"

namespace quench::coordinator {

inline constexpr std::string_view kStatementType = "application/vnd.in-toto+json";
inline constexpr std::size_t kEnvelopeBytesMax = 1 << 20;

struct Envelope {
  struct Signature {
    std::string key_id;  // a hint, unsigned
    std::string bytes;
  };
  std::string payload_type;
  std::string payload;
  std::vector<Signature> signatures;
};

// What is signed: the payload's type and the payload, each with its length ("pre-authentication encoding").
std::string signed_bytes(std::string_view payload_type, std::string_view payload);
// The envelope's JSON with one signature.
std::string sign_payload(std::string_view payload, const SigningKey& key);
// Throws Error(corrupt) for what is no envelope.
Envelope parse_envelope(std::string_view json);

}  // namespace quench::coordinator
