#include "coordinator/store/chunks.h"

#include <algorithm>
#include <utility>

#include "coordinator/store/keys.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

// The bytes are in family 0, in blob files. Their sizes have a family of their own, so that asking for
// one does not read a blob.
constexpr std::size_t kBlobs = 0, kSizes = 1;
constexpr const char* kSizesName = "sizes";

std::string_view key_of(const Digest& digest) { return as_text(digest.bytes); }

}  // namespace

Chunks::Chunks(const std::filesystem::path& path, DatabaseAccess access, LogSink log)
    : database_(path, DatabaseProfile::blobs, access, {"default", kSizesName}, std::move(log)) {}

void Chunks::put(const Digest& digest, std::span<const std::uint8_t> bytes) {
  if (size_bytes(digest)) return;
  std::string size;
  append_u64(size, bytes.size());
  size = seal(kSizesName, key_of(digest), size);
  const Database::Put puts[] = {{kBlobs, key_of(digest), as_text(bytes)}, {kSizes, key_of(digest), size}};
  const std::shared_lock gate(put_gate_);
  {
    const std::lock_guard lock(unflushed_mutex_);
    unflushed_.insert(digest);
  }
  database_.write(puts);
}

Bytes Chunks::get(const Digest& digest) const {
  std::optional<Bytes> bytes = database_.get(kBlobs, key_of(digest));
  if (!bytes) throw Error(ErrorCode::corrupt, "chunk " + digest.hex() + " is missing from the store");
  if (const Digest actual = sha256(*bytes); actual != digest)
    throw Error(ErrorCode::corrupt, "chunk " + digest.hex() + " is damaged: its bytes have the digest " +
                                        actual.hex() + "; restore the store from a copy");
  return *std::move(bytes);
}

std::optional<std::uint64_t> Chunks::size_bytes(const Digest& digest) const {
  const std::optional<Bytes> value = database_.get(kSizes, key_of(digest));
  if (!value) return std::nullopt;
  std::string_view payload = unseal(kSizesName, key_of(digest), as_text(*value));
  return take_u64(payload);
}

void Chunks::flush_for(std::span<const Digest> digests) {
  const std::lock_guard flushing(flush_mutex_);
  std::set<Digest> taken;
  {
    const std::unique_lock gate(put_gate_);
    const bool needed = std::ranges::any_of(digests, [&](const Digest& d) { return unflushed_.contains(d); });
    if (!needed) return;
    taken.swap(unflushed_);
  }
  try {
    database_.flush();
  } catch (const Error&) {
    const std::unique_lock gate(put_gate_);
    unflushed_.merge(taken);
    throw;
  }
}

void Chunks::scan(const std::function<bool(const Digest&)>& visit) const {
  database_.scan(kSizes, "", [&](std::string_view key, std::string_view) {
    return visit(Digest::from_bytes(as_bytes(key)));
  });
}

}  // namespace quench::coordinator
