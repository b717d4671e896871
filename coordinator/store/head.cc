#include "coordinator/store/head.h"

#include <fcntl.h>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "coordinator/store/keys.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

constexpr std::string_view kMagic = "QUENCHHD";
constexpr std::size_t kSummedBytes = kHeadSlotBytes - 32;

void append_mark(std::string& out, const ManifestMark& mark) {
  append_u64(out, mark.number);
  append_u64(out, mark.size_bytes);
  append_u64(out, mark.checksum);
}

ManifestMark take_mark(std::string_view& in) {
  ManifestMark mark;
  mark.number = take_u64(in);
  mark.size_bytes = take_u64(in);
  mark.checksum = take_u64(in);
  return mark;
}

std::string encode(const HeadRecord& record) {
  std::string slot(kMagic);
  append_u64(slot, kStoreFormat | static_cast<std::uint64_t>(kHeadSlotBytes) << 32);
  append_u64(slot, record.sequence);
  append_u64(slot, record.commit);
  append_digest(slot, record.chain);
  append_mark(slot, record.chunks);
  append_mark(slot, record.catalog);
  slot.resize(kSummedBytes, '\0');
  append_digest(slot, sha256(slot));
  return slot;
}

// The format a slot claims; 0 when it is not a slot of any format.
std::uint32_t claimed_format(std::string_view slot) {
  if (slot.size() < 16 || !slot.starts_with(kMagic)) return 0;
  slot.remove_prefix(kMagic.size());
  return static_cast<std::uint32_t>(take_u64(slot));
}

std::optional<HeadRecord> decode(std::string_view slot) {
  if (const std::uint32_t format = claimed_format(slot); format < kStoreFormatOldest || format > kStoreFormat)
    return std::nullopt;
  std::string_view sum = slot.substr(kSummedBytes);
  if (take_digest(sum) != sha256(slot.substr(0, kSummedBytes))) return std::nullopt;
  slot.remove_prefix(16);
  HeadRecord record;
  record.sequence = take_u64(slot);
  record.commit = take_u64(slot);
  record.chain = take_digest(slot);
  record.chunks = take_mark(slot);
  record.catalog = take_mark(slot);
  return record;
}

HeadRecord read_newest(const File& file) {
  const std::string text = file.read_at(0, 2 * kHeadSlotBytes);
  const std::string_view first = std::string_view(text).substr(0, kHeadSlotBytes);
  const std::string_view second = std::string_view(text).substr(first.size());
  const std::string name = file.path().string();
  // A slot torn or damaged in its version does not make a store newer: both must say so, or the
  // file must have another length than format 1 gives it.
  const bool one_slot = text.size() < kHeadSlotBytes + 16;
  const std::uint32_t format =
      one_slot ? claimed_format(first) : std::min(claimed_format(first), claimed_format(second));
  if (format > kStoreFormat)
    throw Error(ErrorCode::bad_input, name + " is of store format " + std::to_string(format) +
                                          ", this build of quench reads format " +
                                          std::to_string(kStoreFormat) +
                                          ": use the newer quench that made the store");
  if (file.size_bytes() != 2 * kHeadSlotBytes)
    throw Error(ErrorCode::corrupt, name + " has " + std::to_string(file.size_bytes()) + " bytes, expected " +
                                        std::to_string(2 * kHeadSlotBytes) +
                                        ": it is damaged; restore the store from a copy");
  const std::optional<HeadRecord> a = decode(first), b = decode(second);
  if (!a && !b)
    throw Error(ErrorCode::corrupt,
                name + " has no intact slot: it is damaged; restore the store from a copy");
  if (!a || !b) return a ? *a : *b;
  return a->sequence > b->sequence ? *a : *b;
}

}  // namespace

void HeadFile::create(const std::filesystem::path& path, const HeadRecord& first) {
  const std::filesystem::path draft = path.string() + ".new";
  const std::string slot = encode(first);
  File file(draft, O_RDWR | O_CREAT | O_TRUNC);
  file.write_at(0, slot + slot);
  file.sync();
  std::error_code error;
  std::filesystem::rename(draft, path, error);
  if (error) throw errno_error(ErrorCode::failed, "cannot rename " + draft.string(), error.value());
  sync_directory(path.parent_path());
}

HeadFile::HeadFile(const std::filesystem::path& path, int flags)
    : file_(path, flags), newest_(read_newest(file_)) {}

void HeadFile::write(HeadRecord record) {
  record.sequence = newest_.sequence + 1;
  file_.write_at((record.sequence % 2) * kHeadSlotBytes, encode(record));
  file_.sync();
  newest_ = record;
}

}  // namespace quench::coordinator
