#include "worker/quantize/aqlm/kept_file.h"

#include <cstring>
#include <fstream>
#include <string>

#include "worker/quantize/scratch_file.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;

struct Head {
  char magic[8];
  std::uint8_t key[32];
  std::uint8_t digest[32];  // of the rest
};
constexpr char kMagic[8] = {'Q', 'T', 'U', 'N', 'I', 'N', 'G', '1'};

// Empty where there is none that fits.
std::vector<std::uint8_t> read_payload(const fs::path& path, const Digest& key) {
  std::ifstream in(path, std::ios::binary);
  Head head{};
  if (!in || !in.read(reinterpret_cast<char*>(&head), sizeof head)) return {};
  if (std::memcmp(head.magic, kMagic, sizeof kMagic) != 0 || std::memcmp(head.key, key.bytes.data(), key.bytes.size()) != 0) return {};
  std::vector<std::uint8_t> bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (in.bad() || std::memcmp(head.digest, sha256(bytes).bytes.data(), sizeof head.digest) != 0) return {};
  return bytes;
}

}  // namespace

KeptFile KeptFile::begun_at(std::span<const std::uint8_t> start) const {
  return {path_, Hasher().update(key_.span()).update(start).finish()};
}

void KeptFile::save(cluster::Collective& gang, std::span<const std::uint8_t> bytes) const {
  if (path_.empty() || gang.rank() != 0) return;
  Head head{};
  std::memcpy(head.magic, kMagic, sizeof kMagic);
  std::memcpy(head.key, key_.bytes.data(), key_.bytes.size());
  std::memcpy(head.digest, sha256(bytes).bytes.data(), sizeof head.digest);
  write_scratch_file(path_, {{reinterpret_cast<const std::uint8_t*>(&head), sizeof head}, bytes}, "the state of fine-tuning");
}

std::optional<std::vector<std::uint8_t>> KeptFile::load(cluster::Collective& gang) const {
  std::vector<std::uint8_t> bytes;
  if (!path_.empty() && gang.rank() == 0) bytes = read_payload(path_, key_);
  std::uint64_t size = bytes.size();
  gang.broadcast({reinterpret_cast<std::uint8_t*>(&size), sizeof size}, 0, "size of a kept state");
  if (size == 0) return std::nullopt;
  bytes.resize(size);
  gang.broadcast(bytes, 0, "kept state");
  return bytes;
}

void KeptFile::remove() const {
  std::error_code ignored;
  if (!path_.empty()) fs::remove(path_, ignored);
}

}  // namespace quench::worker
