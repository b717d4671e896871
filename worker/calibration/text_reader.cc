#include "worker/calibration/text_reader.h"

#include <zlib.h>

#include <cerrno>
#include <utility>

#include "schemas/error.h"

namespace quench::worker {
namespace {

constexpr std::size_t kBlockBytes = 256 << 10;
constexpr std::size_t kLineBytesMax = 64 << 20;

}  // namespace

// zlib's own reader gives the bytes of a file that is not packed as they are.
struct TextReader::Handle {
  explicit Handle(const std::filesystem::path& path) : file(::gzopen(path.c_str(), "rb")) {}
  ~Handle() {
    if (file != nullptr) ::gzclose(file);
  }
  gzFile file;
};

TextReader::TextReader(std::filesystem::path path) : path_(std::move(path)) {
  errno = 0;
  handle_ = std::make_unique<Handle>(path_);
  if (handle_->file == nullptr)
    throw errno_error(ErrorCode::bad_input, "cannot open " + path_.string(), errno);
  ::gzbuffer(handle_->file, kBlockBytes);
}

TextReader::~TextReader() = default;

std::size_t TextReader::read(std::span<char> out) {
  errno = 0;
  const int got = ::gzread(handle_->file, out.data(), static_cast<unsigned>(out.size()));
  if (got > 0) return static_cast<std::size_t>(got);
  int code = Z_OK;
  const char* why = ::gzerror(handle_->file, &code);
  if (code == Z_ERRNO) throw errno_error(ErrorCode::bad_input, "cannot read " + path_.string(), errno);
  // A gzip file that ends early says so only here.
  if (got < 0 || code != Z_OK)
    throw Error(ErrorCode::bad_input,
                path_.string() + " is a damaged or cut gzip file (" + why + "): copy it again, or unpack it");
  return 0;
}

bool TextReader::next_line(std::string& line) {
  line.clear();
  for (;;) {
    if (block_at_ == block_.size()) {
      block_.resize(kBlockBytes);
      block_.resize(read(block_));
      block_at_ = 0;
      if (block_.empty()) break;
    }
    const std::size_t end = block_.find('\n', block_at_);
    line.append(block_, block_at_, (end == std::string::npos ? block_.size() : end) - block_at_);
    block_at_ = end == std::string::npos ? block_.size() : end + 1;
    if (line.size() > kLineBytesMax)
      throw Error(ErrorCode::bad_input, path_.string() + ": line " + std::to_string(line_number_ + 1) +
                                            " is longer than 64 MiB: is this a file of lines?");
    if (end == std::string::npos) continue;
    ++line_number_;
    if (line.ends_with('\r')) line.pop_back();
    return true;
  }
  if (line.empty()) return false;
  ++line_number_;
  return true;
}

bool read_whole(const std::filesystem::path& path, std::size_t bytes_max, std::string& text) {
  TextReader reader(path);
  text.clear();
  for (;;) {
    const std::size_t before = text.size();
    text.resize(before + kBlockBytes);
    const std::size_t got = reader.read(std::span(text).subspan(before));
    text.resize(before + got);
    if (got == 0) return true;
    if (text.size() > bytes_max) return false;
  }
}

}  // namespace quench::worker
