#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <set>

#include "schemas/error.h"
#include "schemas/safetensors.h"

namespace quench {

SafetensorsWriter::SafetensorsWriter(std::filesystem::path file, std::vector<Item> items,
                                     const std::map<std::string, std::string>& metadata)
    : file_(std::move(file)) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t data_bytes = 0;
  std::set<std::string> names;
  for (const Item& item : items) {
    QUENCH_CHECK(item.name != "__metadata__" && names.insert(item.name).second, item.name);
    std::uint64_t bytes = dtype_bytes(item.dtype);
    for (const std::uint64_t extent : item.shape)
      QUENCH_CHECK(!__builtin_mul_overflow(bytes, extent, &bytes), item.name, extent);
    header[item.name] = {{"dtype", to_string(item.dtype)},
                         {"shape", item.shape},
                         {"data_offsets", {data_bytes, data_bytes + bytes}}};
    data_bytes += bytes;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception& exception) {
    throw Error(ErrorCode::failed, file_.string() + ": a name or metadata is not UTF-8: " + exception.what());
  }
  text.append((8 - text.size() % 8) % 8, ' ');  // the data starts aligned

  partial_ = file_;
  partial_ += ".partial-" + std::to_string(::getpid());
  descriptor_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (descriptor_ < 0) throw errno_error(ErrorCode::failed, "cannot create " + partial_.string(), errno);
  std::vector<std::uint8_t> head(8);
  for (std::size_t i = 0; i < 8; ++i) head[i] = static_cast<std::uint8_t>(text.size() >> (8 * i));
  head.insert(head.end(), text.begin(), text.end());
  expected_bytes_ = head.size() + data_bytes;
  try {
    append(head);
  } catch (...) {
    // The destructor does not run for an unfinished object.
    ::close(descriptor_);
    ::unlink(partial_.c_str());
    throw;
  }
}

SafetensorsWriter::~SafetensorsWriter() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(partial_.c_str());
}

void SafetensorsWriter::append(std::span<const std::uint8_t> bytes) {
  QUENCH_CHECK(descriptor_ >= 0 && bytes.size() <= expected_bytes_ - written_bytes_, bytes.size(),
               written_bytes_, expected_bytes_);
  while (!bytes.empty()) {
    const ssize_t done = ::write(descriptor_, bytes.data(), std::min<std::size_t>(bytes.size(), 1 << 30));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) throw errno_error(ErrorCode::failed, "cannot write " + partial_.string(), errno);
    bytes = bytes.subspan(static_cast<std::size_t>(done));
    written_bytes_ += static_cast<std::uint64_t>(done);
  }
}

void SafetensorsWriter::finish() {
  QUENCH_CHECK(written_bytes_ == expected_bytes_, written_bytes_, expected_bytes_);
  if (::fsync(descriptor_) != 0)
    throw errno_error(ErrorCode::failed, "cannot write " + partial_.string(), errno);
  const int descriptor = descriptor_;
  descriptor_ = -1;
  std::error_code rename_error;
  const bool closed = ::close(descriptor) == 0;
  if (closed) std::filesystem::rename(partial_, file_, rename_error);
  if (!closed || rename_error) {
    ::unlink(partial_.c_str());
    throw Error(ErrorCode::failed, "cannot finish " + file_.string() +
                                       (rename_error ? ": " + rename_error.message() : std::string()));
  }
}

}  // namespace quench
