#include "worker/quantize/hidden_states.h"

#include <cstring>
#include <fstream>
#include <string>

#include "kernels/cpu/thread_pool.h"
#include "schemas/error.h"
#include "worker/quantize/scratch_file.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;

struct FileHeader {
  char magic[8];
  std::uint8_t key[32];
  std::uint8_t digest[32];  // of the values
  std::int64_t rows;
  std::int64_t columns;
};
constexpr char kMagic[8] = {'Q', 'H', 'I', 'D', 'D', 'E', 'N', '1'};

std::span<const std::uint8_t> bytes_of(kernels::ConstMatrixView values) {
  QUENCH_CHECK(values.stride == values.cols, values.stride, values.cols);
  return {reinterpret_cast<const std::uint8_t*>(values.data),
          static_cast<std::size_t>(values.rows * values.cols) * sizeof(float)};
}

}  // namespace

HiddenStates::HiddenStates(fs::path directory, Digest key) : directory_(std::move(directory)), key_(key) {
  std::error_code error;
  fs::create_directories(directory_, error);
  if (error)
    throw Error(ErrorCode::failed,
                "scratch directory " + directory_.string() + " cannot be made: " + error.message());
}

fs::path HiddenStates::file_of(std::uint32_t block, std::uint32_t sequence) const {
  return directory_ / ("sequence-" + std::to_string(sequence) + "-block-" + std::to_string(block));
}

void HiddenStates::save(std::uint32_t block, std::uint32_t sequence, kernels::ConstMatrixView hidden) {
  const std::span<const std::uint8_t> values = bytes_of(hidden);
  FileHeader header{};
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  std::memcpy(header.key, key_.bytes.data(), key_.bytes.size());
  std::memcpy(header.digest, sha256(values).bytes.data(), 32);
  header.rows = hidden.rows;
  header.columns = hidden.cols;
  write_scratch_file(file_of(block, sequence), {{reinterpret_cast<const std::uint8_t*>(&header), sizeof header}, values},
                     "hidden states");
}

void HiddenStates::save_all(std::uint32_t block, std::uint32_t first, kernels::ConstMatrixView hidden, std::int64_t length,
                            int threads) {
  kernels::ThreadPool pool(threads);
  kernels::run_in_turn(pool, hidden.rows / length, [&](std::int64_t i) {
    const std::uint32_t sequence = first + static_cast<std::uint32_t>(i);
    save(block, sequence, hidden.row_range(i * length, length));
    keep_two(block, sequence);
  });
}

bool HiddenStates::load(std::uint32_t block, std::uint32_t sequence, kernels::MatrixView hidden) const {
  std::ifstream in(file_of(block, sequence), std::ios::binary);
  FileHeader header{};
  if (!in || !in.read(reinterpret_cast<char*>(&header), sizeof header)) return false;
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0 ||
      std::memcmp(header.key, key_.bytes.data(), key_.bytes.size()) != 0 || header.rows != hidden.rows ||
      header.columns != hidden.cols)
    return false;
  const std::span<const std::uint8_t> values = bytes_of(hidden);
  if (!in.read(reinterpret_cast<char*>(hidden.data), static_cast<std::streamsize>(values.size())))
    return false;
  return std::memcmp(sha256(values).bytes.data(), header.digest, 32) == 0;
}

std::optional<std::uint32_t> HiddenStates::load_latest(std::uint32_t block, std::uint32_t sequence,
                                                       kernels::MatrixView hidden) const {
  for (std::uint32_t boundary = block + 1; boundary-- > 0;)
    if (load(boundary, sequence, hidden)) return boundary;
  return std::nullopt;
}

void HiddenStates::keep_two(std::uint32_t block, std::uint32_t sequence) const {
  std::error_code ignored;
  for (std::uint32_t old = block >= 2 ? block - 1 : 0; old-- > 0;)
    if (!fs::remove(file_of(old, sequence), ignored)) break;
}

}  // namespace quench::worker
