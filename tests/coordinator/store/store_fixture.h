// A directory of its own per test, and bytes that are the same in every run.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/store/artifact_store.h"
#include "schemas/error.h"

namespace quench::coordinator {

// Memory where the system has it: tests that open hundreds of stores need not wait for a disk.
inline std::filesystem::path fast_directory() {
  return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : std::filesystem::temp_directory_path();
}

class TemporaryDirectory {
 public:
  explicit TemporaryDirectory(const std::filesystem::path& parent = std::filesystem::temp_directory_path()) {
    std::string pattern = (parent / "quench-store-XXXXXX").string();
    if (!mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp failed");
    path_ = pattern;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Tests of faults take a part of their cases, all of them where the environment has QUENCH_FAULTS_FULL.
inline bool all_faults() { return std::getenv("QUENCH_FAULTS_FULL") != nullptr; }

// `size_bytes` bytes that depend on `seed` alone.
inline Bytes seeded_bytes(std::uint64_t seed, std::size_t size_bytes) {
  std::mt19937_64 generator(seed);
  Bytes bytes(size_bytes);
  for (std::size_t i = 0; i < size_bytes; i += 8) {
    const std::uint64_t word = generator();
    for (std::size_t j = i; j < std::min(i + 8, size_bytes); ++j)
      bytes[j] = std::uint8_t(word >> (8 * (j - i)));
  }
  return bytes;
}

// For CollectOptions: a judge that reads no other journal.
inline std::function<JobJudge(const ReadJournal&)> judged_by(JobJudge judge) {
  return [judge = std::move(judge)](const ReadJournal&) { return judge; };
}

inline Bytes text_bytes(std::string_view text) { return Bytes(text.begin(), text.end()); }

// The error that `body` throws; the test fails when it throws none.
template <typename Body>
Error error_of(Body&& body) {
  try {
    body();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "expected an Error";
  return Error(ErrorCode::internal, "no error");
}

// Adds 1 to the byte at `offset` of a file.
inline void damage_byte(const std::filesystem::path& path, std::uint64_t offset) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(offset));
  const int byte = file.get();
  ASSERT_NE(byte, EOF) << path << " has no byte " << offset;
  file.seekp(static_cast<std::streamoff>(offset));
  file.put(static_cast<char>(byte + 1));
  ASSERT_TRUE(file.flush().good());
}

// The files of a directory whose names start and end so, in order.
inline std::vector<std::filesystem::path> files_like(const std::filesystem::path& directory,
                                                     std::string_view start, std::string_view end) {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(start) && name.ends_with(end)) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace quench::coordinator
