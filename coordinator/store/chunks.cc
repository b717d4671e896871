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

void Chunks::put(const Digest& digest, std::span<const std::uint8_t> bytes, OpenPublishes& publishes) {
  const std::shared_lock gate(put_gate_);
  publishes.touch(digest);
  if (size_bytes(digest)) return;
  bool is_new = false;
  {
    const std::lock_guard lock(unflushed_mutex_);
    is_new = unflushed_.insert(digest).second;
  }
  write(digest, bytes);
  const std::lock_guard lock(stored_mutex_);
  if (stored_bytes_ && is_new) *stored_bytes_ += bytes.size();
}

bool Chunks::claim(const Digest& digest, OpenPublishes& publishes) {
  const std::shared_lock gate(put_gate_);
  if (!size_bytes(digest)) return false;
  publishes.touch(digest);
  return true;
}

void Chunks::replace(const Digest& digest, std::span<const std::uint8_t> bytes) {
  {
    const std::shared_lock gate(put_gate_);
    write(digest, bytes);
  }
  {
    const std::lock_guard lock(stored_mutex_);
    stored_bytes_.reset();
  }
  const std::lock_guard flushing(flush_mutex_);
  database_.flush();
}

void Chunks::write(const Digest& digest, std::span<const std::uint8_t> bytes) {
  std::string size;
  append_u64(size, bytes.size());
  size = seal(kSizesName, key_of(digest), size);
  const Database::Put puts[] = {{kBlobs, key_of(digest), as_text(bytes)}, {kSizes, key_of(digest), size}};
  database_.write(puts);
}

std::uint64_t Chunks::remove(std::span<const Digest> digests, const OpenPublishes& publishes) {
  const std::unique_lock gate(put_gate_);
  std::vector<Database::Erase> erasures;
  std::uint64_t bytes = 0;
  for (const Digest& digest : digests) {
    if (publishes.holds(digest)) continue;
    const std::optional<std::uint64_t> size = size_bytes(digest);
    if (!size) continue;
    bytes += *size;
    erasures.push_back({kBlobs, key_of(digest)});
    erasures.push_back({kSizes, key_of(digest)});
  }
  database_.write({}, erasures);
  const std::lock_guard lock(stored_mutex_);
  if (stored_bytes_) *stored_bytes_ -= std::min(bytes, *stored_bytes_);
  return bytes;
}

std::uint64_t Chunks::stored_bytes() const {
  const std::lock_guard lock(stored_mutex_);
  if (!stored_bytes_) {
    std::uint64_t sum = 0;
    scan_sizes([&](const Digest&, std::uint64_t size_bytes) {
      sum += size_bytes;
      return true;
    });
    stored_bytes_ = sum;
  }
  return *stored_bytes_;
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

void Chunks::scan_sizes(const std::function<bool(const Digest&, std::uint64_t)>& visit) const {
  database_.scan(kSizes, "", [&](std::string_view key, std::string_view value) {
    std::string_view payload = value.substr(std::min<std::size_t>(value.size(), kSealBytes));
    return visit(Digest::from_bytes(as_bytes(key)), take_u64(payload));
  });
}

}  // namespace quench::coordinator
