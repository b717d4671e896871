// Base64 (RFC 4648, with padding), as DSSE envelopes have it.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <cstdint>
#include <vector>

namespace quench::coordinator {

std::string to_base64(std::string_view bytes);
// Throws Error(corrupt) for anything but the standard alphabet with its padding.
std::string from_base64(std::string_view text);

}  // namespace quench::coordinator
