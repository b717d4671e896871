#include "coordinator/store/keys.h"

#include <algorithm>

#include "schemas/error.h"

namespace quench::coordinator {
namespace {

bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_name_part(std::string_view part) {
  return !part.empty() && is_alphanumeric(part.front()) && std::ranges::all_of(part, [](char c) {
    return is_alphanumeric(c) || c == '.' || c == '_' || c == '-';
  });
}

bool is_name(std::string_view name) {
  if (name.empty() || name.size() > kNameBytesMax) return false;
  if (name.size() == 64 && std::ranges::all_of(name, is_hex)) return false;
  if (const std::size_t colon = name.find(':'); colon != std::string_view::npos) {
    if (!is_name_part(name.substr(colon + 1))) return false;
    name = name.substr(0, colon);
  }
  for (std::size_t slash; (slash = name.find('/')) != std::string_view::npos; name.remove_prefix(slash + 1))
    if (!is_name_part(name.substr(0, slash))) return false;
  return is_name_part(name);
}

// A name as an error message may show it: hostile bytes would garble a terminal.
std::string printable(std::string_view name) {
  std::string text(name.substr(0, kNameBytesMax));
  std::ranges::replace_if(
      text, [](char c) { return c < ' ' || c > '~'; }, '?');
  return name.size() > kNameBytesMax ? text + "..." : text;
}

Digest seal_digest(std::string_view family, std::string_view key, std::string_view payload) {
  return Hasher()
      .update_u64(family.size())
      .update(family)
      .update_u64(key.size())
      .update(key)
      .update(payload)
      .finish();
}

[[noreturn]] void throw_short() {
  throw Error(ErrorCode::corrupt, "a record of the catalog is shorter than its fields");
}

}  // namespace

void check_name(std::string_view what, std::string_view name) {
  if (is_name(name)) return;
  throw Error(ErrorCode::bad_input,
              std::string(what) + " \"" + printable(name) + "\" is not allowed: expected at most " +
                  std::to_string(kNameBytesMax) +
                  " characters like model, org/model or org/model:tag, of letters, digits, '.', '_' and "
                  "'-', each part starting with a letter or digit, and not a digest");
}

bool is_digest_prefix(std::string_view text) {
  return text.size() >= kDigestPrefixMin && text.size() <= 64 && std::ranges::all_of(text, is_hex);
}

void check_size(std::string_view what, std::size_t bytes, std::size_t bytes_max) {
  if (bytes <= bytes_max) return;
  throw Error(ErrorCode::bad_input, std::string(what) + " has " + std::to_string(bytes) +
                                        " bytes; the store takes at most " + std::to_string(bytes_max));
}

std::string seal(std::string_view family, std::string_view key, std::string_view payload) {
  std::string value;
  value.reserve(32 + payload.size());
  append_digest(value, seal_digest(family, key, payload));
  value += payload;
  return value;
}

std::string_view unseal(std::string_view family, std::string_view key, std::string_view value) {
  std::string_view payload = value;
  const Digest stored = take_digest(payload);
  if (stored != seal_digest(family, key, payload))
    throw Error(ErrorCode::corrupt, "the record \"" + printable(key) + "\" of " + std::string(family) +
                                        " does not have its digest; restore the store from a copy");
  return payload;
}

std::string versioned_prefix(std::string_view name) { return std::string(name) + '\0'; }

std::string versioned_key(std::string_view name, std::uint64_t version) {
  std::string key = versioned_prefix(name);
  for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<char>(version >> shift));
  return key;
}

VersionedKey parse_versioned_key(std::string_view key) {
  if (key.size() < 10 || key[key.size() - 9] != '\0')
    throw Error(ErrorCode::corrupt, "a key of the catalog is not a name with a number");
  VersionedKey parsed{key.substr(0, key.size() - 9), 0};
  for (char c : key.substr(key.size() - 8))
    parsed.version = parsed.version << 8 | static_cast<std::uint8_t>(c);
  return parsed;
}

void append_u64(std::string& out, std::uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8) out.push_back(static_cast<char>(value >> shift));
}

void append_digest(std::string& out, const Digest& digest) { out += as_text(digest.bytes); }

std::uint64_t take_u64(std::string_view& in) {
  if (in.size() < 8) throw_short();
  std::uint64_t value = 0;
  for (int i = 0; i < 8; ++i)
    value |= static_cast<std::uint64_t>(static_cast<std::uint8_t>(in[i])) << (8 * i);
  in.remove_prefix(8);
  return value;
}

Digest take_digest(std::string_view& in) {
  if (in.size() < 32) throw_short();
  const Digest digest = Digest::from_bytes(as_bytes(in.substr(0, 32)));
  in.remove_prefix(32);
  return digest;
}

void append_digests(std::string& out, std::span<const Digest> digests) {
  append_u64(out, digests.size());
  for (const Digest& digest : digests) append_digest(out, digest);
}

std::vector<Digest> take_digests(std::string_view& in) {
  const std::uint64_t count = take_u64(in);
  if (count > in.size() / 32) throw_short();
  std::vector<Digest> digests(count);
  for (Digest& digest : digests) digest = take_digest(in);
  return digests;
}

}  // namespace quench::coordinator
