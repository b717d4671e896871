// Names, limits and encodings of the store's records, free of RocksDB. Pure functions.
//
// Every value but a chunk is sealed: SHA-256 over (family, key, payload), then the payload. So a value
// that changed, or that moved to another key, is found on every read.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/store/commit.h"
#include "schemas/digest.h"

namespace quench::coordinator {

// The newest format this build reads and the only one it writes; a store of an older one is brought to it
// when it is first opened for writing.
//   1  objects, refs, journal, results
//   2  records in `meta` say which objects and journals the collector took the chunks of, and hold settings
inline constexpr std::uint32_t kStoreFormat = 2;
inline constexpr std::uint32_t kStoreFormatOldest = 1;

inline constexpr std::size_t kChunkBytesMax = 16u << 20;
inline constexpr std::size_t kObjectBytesMax = 64u << 20;
inline constexpr std::size_t kEventBytesMax = 16u << 20;
inline constexpr std::size_t kResultBytesMax = 16u << 20;
inline constexpr std::size_t kResultKeyBytesMax = 1024;
inline constexpr std::size_t kSettingBytesMax = 1u << 20;
inline constexpr std::size_t kNameBytesMax = 200;
inline constexpr std::size_t kDigestPrefixMin = 6;

// Names of artifacts and jobs: `model`, `org/model`, `org/model:tag`. Parts of letters, digits, '.',
// '_', '-', each starting with a letter or digit; at most one ':', before the last part; at most
// kNameBytesMax bytes; not 64 hexadecimal digits. Throws Error(bad_input) naming `what` and the rule.
void check_name(std::string_view what, std::string_view name);
// True when `text` may be the beginning of a digest (kDigestPrefixMin to 64 hexadecimal characters).
bool is_digest_prefix(std::string_view text);
// Throws Error(bad_input) when bytes > bytes_max.
void check_size(std::string_view what, std::size_t bytes, std::size_t bytes_max);

inline constexpr std::size_t kSealBytes = 32;
std::string seal(std::string_view family, std::string_view key, std::string_view payload);
// The payload, a view into `value`. Throws Error(corrupt).
std::string_view unseal(std::string_view family, std::string_view key, std::string_view value);

// Keys of `refs` and `journal`: name, a zero byte, eight bytes big-endian, so that the entries of a
// name are neighbours in order.
std::string versioned_key(std::string_view name, std::uint64_t version);
std::string versioned_prefix(std::string_view name);
struct VersionedKey {
  std::string_view name;
  std::uint64_t version = 0;
};
// Throws Error(corrupt).
VersionedKey parse_versioned_key(std::string_view key);

// Little-endian fields in sequence; take_* throw Error(corrupt) when too little is left.
void append_u64(std::string& out, std::uint64_t value);
void append_digest(std::string& out, const Digest& digest);
std::uint64_t take_u64(std::string_view& in);
Digest take_digest(std::string_view& in);

// The payload of objects and journal events: what precedes (`lead`), the chunk list, the bytes.
void append_digests(std::string& out, std::span<const Digest> digests);
std::vector<Digest> take_digests(std::string_view& in);

}  // namespace quench::coordinator
