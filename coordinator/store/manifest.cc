#include "coordinator/store/manifest.h"

#include <fcntl.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include "coordinator/store/disk.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

constexpr std::uint64_t kChecksumStart = 0xcbf29ce484222325u;
constexpr std::uint64_t kChecksumPrime = 0x100000001b3u;
constexpr std::string_view kManifestPrefix = "MANIFEST-";
constexpr std::size_t kReadBytes = 1 << 16;
constexpr std::size_t kCurrentBytesMax = 64;

std::uint64_t extend_checksum(std::uint64_t checksum, std::string_view data) {
  for (const char c : data) checksum = (checksum ^ static_cast<std::uint8_t>(c)) * kChecksumPrime;
  return checksum;
}

Error damaged(const std::filesystem::path& path, const std::string& what) {
  return Error(ErrorCode::corrupt, path.string() + " " + what +
                                       ": the database is damaged or older than the store's HEAD; nothing "
                                       "was changed, restore the store from a copy");
}

// CURRENT holds "MANIFEST-000005\n".
std::uint64_t current_manifest_number(const std::filesystem::path& database) {
  const std::filesystem::path path = database / "CURRENT";
  if (!std::filesystem::exists(path)) throw damaged(path, "is missing");
  const std::string text = File(path, O_RDONLY).read_at(0, kCurrentBytesMax);
  std::uint64_t number = 0;
  const bool shaped = text.starts_with(kManifestPrefix) && text.ends_with('\n');
  const char* begin = text.data() + std::min(kManifestPrefix.size(), text.size());
  const char* end = text.data() + text.size() - (shaped ? 1 : 0);
  const auto [rest, error] = std::from_chars(begin, end, number);
  if (!shaped || error != std::errc() || rest != end) throw damaged(path, "does not name a MANIFEST");
  return number;
}

std::filesystem::path manifest_path(const std::filesystem::path& database, std::uint64_t number) {
  char name[40];
  std::snprintf(name, sizeof name, "MANIFEST-%06llu", static_cast<unsigned long long>(number));
  return database / name;
}

// The checksum of bytes [from, to) on top of `checksum`; `to` is at most the file's size.
std::uint64_t checksum_range(const File& file, std::uint64_t checksum, std::uint64_t from, std::uint64_t to) {
  while (from < to) {
    const std::string data = file.read_at(from, std::min<std::uint64_t>(kReadBytes, to - from));
    if (data.empty()) throw damaged(file.path(), "became shorter");
    checksum = extend_checksum(checksum, data);
    from += data.size();
  }
  return checksum;
}

}  // namespace

ManifestWatch::ManifestWatch(std::filesystem::path database) : database_(std::move(database)) {}

ManifestMark ManifestWatch::mark() {
  const std::uint64_t number = current_manifest_number(database_);
  File file(manifest_path(database_, number), O_RDONLY);
  const std::uint64_t size_bytes = file.size_bytes();
  if (number == last_.number && size_bytes == last_.size_bytes) return last_;
  if (number != last_.number || size_bytes < last_.size_bytes) last_ = {number, 0, kChecksumStart};
  file.sync();
  last_.checksum = checksum_range(file, last_.checksum, last_.size_bytes, size_bytes);
  last_.size_bytes = size_bytes;
  return last_;
}

void check_manifest(const std::filesystem::path& database, const ManifestMark& mark) {
  const std::uint64_t number = current_manifest_number(database);
  const std::filesystem::path path = manifest_path(database, number);
  if (!std::filesystem::is_regular_file(path)) throw damaged(path, "is missing");
  if (number < mark.number)
    throw damaged(database / "CURRENT", "names " + path.filename().string() + ", HEAD knows of " +
                                            manifest_path(database, mark.number).filename().string());
  // RocksDB starts a new MANIFEST whenever it opens; a crash before HEAD followed it leaves this.
  if (number > mark.number) return;
  const File file(path, O_RDONLY);
  if (file.size_bytes() < mark.size_bytes)
    throw damaged(path, "has " + std::to_string(file.size_bytes()) + " bytes, HEAD knows of " +
                            std::to_string(mark.size_bytes));
  if (checksum_range(file, kChecksumStart, 0, mark.size_bytes) != mark.checksum)
    throw damaged(path, "does not have the checksum that HEAD knows");
}

}  // namespace quench::coordinator
