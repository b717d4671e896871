#include "worker/evaluate/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "schemas/error.h"

namespace quench::worker {
namespace {

constexpr std::uint64_t kContentBytesMax = 4ull << 30;
// Input is given to zlib in pieces, for its counts have 32 bits.
constexpr std::size_t kPieceBytes = 1 << 20;

struct Inflater {
  // 16 + 15: a gzip header is expected, with the largest window.
  Inflater() {
    if (::inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK)
      throw Error(ErrorCode::failed, "zlib does not start");
  }
  ~Inflater() { ::inflateEnd(&stream); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  z_stream stream{};
};

}  // namespace

std::string unpacked(std::string_view bytes) {
  if (!bytes.starts_with("\x1f\x8b")) return std::string(bytes);
  Inflater inflater;
  z_stream& stream = inflater.stream;
  std::string content;
  std::vector<Bytef> block(1 << 18);
  int state = Z_OK;
  while (state != Z_STREAM_END) {
    if (stream.avail_in == 0) {
      const std::size_t piece = std::min(bytes.size(), kPieceBytes);
      if (piece == 0) throw Error(ErrorCode::bad_input, "the gzip file ends before its content does");
      // zlib reads only.
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
      stream.avail_in = static_cast<uInt>(piece);
      bytes.remove_prefix(piece);
    }
    stream.next_out = block.data();
    stream.avail_out = static_cast<uInt>(block.size());
    state = ::inflate(&stream, Z_NO_FLUSH);
    if (state != Z_OK && state != Z_STREAM_END && state != Z_BUF_ERROR)
      throw Error(ErrorCode::bad_input, std::string("damaged gzip file: ") +
                                            (stream.msg != nullptr ? stream.msg : "no reason given"));
    content.append(reinterpret_cast<const char*>(block.data()), block.size() - stream.avail_out);
    if (content.size() > kContentBytesMax)
      throw Error(ErrorCode::bad_input, "the gzip file holds more than 4 GiB");
    // gzip files may stand one after the other; the content is theirs together.
    if (state == Z_STREAM_END && (stream.avail_in > 0 || !bytes.empty())) {
      if (::inflateReset(&stream) != Z_OK) throw Error(ErrorCode::failed, "zlib does not start again");
      state = Z_OK;
    }
  }
  return content;
}

}  // namespace quench::worker
