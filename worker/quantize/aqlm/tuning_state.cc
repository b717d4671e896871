#include "worker/quantize/aqlm/tuning_state.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>

#include "schemas/error.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "QTUNING1";
constexpr std::size_t kHeadBytes = kMagic.size() + 2 * sizeof(Digest::bytes);

template <typename T>
std::span<const std::uint8_t> raw(const T* values, std::size_t count) {
  return {reinterpret_cast<const std::uint8_t*>(values), count * sizeof(T)};
}

// One walk over the fields for both ways; the same build writes and reads.
template <typename Archive, typename State>
void walk(Archive& archive, State& state) {
  archive.number(state.epochs);
  archive.number(state.without_gain);
  archive.number(state.error_before);
  archive.number(state.least);
  archive.number(state.first_power);
  archive.number(state.second_power);
  archive.number(state.draws);
  archive.numbers(state.order);
  archive.numbers(state.exponents);
  archive.numbers(state.current);
  archive.numbers(state.best);
  archive.numbers(state.first);
  archive.numbers(state.second);
}

struct Writer {
  std::vector<std::uint8_t> bytes;
  template <typename T>
  void number(const T& value) {
    append(raw(&value, 1));
  }
  template <typename T>
  void numbers(const std::vector<T>& values) {
    number(std::uint64_t{values.size()});
    append(raw(values.data(), values.size()));
  }
  void append(std::span<const std::uint8_t> more) { bytes.insert(bytes.end(), more.begin(), more.end()); }
};

struct Reader {
  std::span<const std::uint8_t> left;
  bool whole = true;
  template <typename T>
  void number(T& value) {
    take(&value, sizeof value);
  }
  template <typename T>
  void numbers(std::vector<T>& values) {
    std::uint64_t count = 0;
    number(count);
    whole = whole && count <= left.size() / sizeof(T);
    if (!whole) return;
    values.resize(count);
    take(values.data(), count * sizeof(T));
  }
  void take(void* into, std::size_t bytes) {
    whole = whole && bytes <= left.size();
    if (!whole || bytes == 0) return;
    std::memcpy(into, left.data(), bytes);
    left = left.subspan(bytes);
  }
};

std::vector<std::uint8_t> read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<std::uint8_t> bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (in.bad()) bytes.clear();
  return bytes;
}

}  // namespace

Digest TuningFile::key_of(std::span<const float> start) const {
  return Hasher().update(key_.span()).update(raw(start.data(), start.size())).finish();
}

void TuningFile::save(cluster::Collective& gang, std::span<const float> start, const TuningState& state) const {
  if (path_.empty() || gang.rank() != 0) return;
  Writer writer;
  walk(writer, state);
  const Digest key = key_of(start), digest = sha256(writer.bytes);
  const fs::path partial = path_.string() + "." + std::to_string(::getpid());
  {
    std::ofstream out(partial, std::ios::binary | std::ios::trunc);
    const auto put = [&](const void* data, std::size_t bytes) {
      out.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
    };
    put(kMagic.data(), kMagic.size());
    put(key.bytes.data(), key.bytes.size());
    put(digest.bytes.data(), digest.bytes.size());
    put(writer.bytes.data(), writer.bytes.size());
    out.flush();
    if (!out) {
      const int cause = errno;
      std::error_code ignored;
      fs::remove(partial, ignored);
      throw errno_error(ErrorCode::failed, "the state of fine-tuning cannot be written to " + path_.string(), cause);
    }
  }
  fs::rename(partial, path_);
}

std::optional<TuningState> TuningFile::load(cluster::Collective& gang, std::span<const float> start) const {
  std::vector<std::uint8_t> payload;
  if (!path_.empty() && gang.rank() == 0) {
    const std::vector<std::uint8_t> file = read_file(path_);
    const Digest key = key_of(start);
    if (file.size() > kHeadBytes && std::memcmp(file.data(), kMagic.data(), kMagic.size()) == 0 &&
        std::memcmp(file.data() + kMagic.size(), key.bytes.data(), key.bytes.size()) == 0) {
      payload.assign(file.begin() + kHeadBytes, file.end());
      const Digest digest = sha256(payload);
      if (std::memcmp(file.data() + kMagic.size() + key.bytes.size(), digest.bytes.data(), digest.bytes.size()) != 0) payload.clear();
    }
  }
  std::uint64_t size = payload.size();
  gang.broadcast({reinterpret_cast<std::uint8_t*>(&size), sizeof size}, 0, "size of the state of fine-tuning");
  if (size == 0) return std::nullopt;
  payload.resize(size);
  gang.broadcast(payload, 0, "state of fine-tuning");
  TuningState state;
  Reader reader{payload};
  walk(reader, state);
  // The digest was right, so this is what save wrote.
  QUENCH_CHECK(reader.whole && reader.left.empty() && state.current.size() == start.size(), reader.left.size(), state.current.size());
  return state;
}

void TuningFile::remove() const {
  std::error_code ignored;
  if (!path_.empty()) fs::remove(path_, ignored);
}

}  // namespace quench::worker
