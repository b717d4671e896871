#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/store_rates.h"
#include "coordinator/store/artifact_store.h"
#include "coordinator/store/disk.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kChunkBytes = 1 << 20;
constexpr int kCommits = 21;
constexpr int kRounds = 3;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

BenchDirectory::BenchDirectory(const fs::path& store) {
  const fs::path beside = fs::absolute(store_directory(store)).lexically_normal();
  path_ = (beside.has_filename() ? beside.parent_path() : beside.parent_path().parent_path()) /
          (".quench-bench-" + std::to_string(::getpid()));
  std::error_code error;
  fs::create_directories(path_, error);
  if (error)
    throw Error(ErrorCode::bad_input, "cannot make " + path_.string() + " to measure its disk: " + error.message() +
                                          "; name a store elsewhere with --store");
}

BenchDirectory::~BenchDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

namespace {

std::vector<Bytes> random_chunks(std::uint32_t count, std::size_t chunk_bytes) {
  std::vector<Bytes> chunks(count, Bytes(chunk_bytes));
  std::mt19937_64 random(1);
  for (Bytes& chunk : chunks)
    for (std::size_t i = 0; i < chunk.size(); i += 8) {
      const std::uint64_t word = random();
      std::memcpy(chunk.data() + i, &word, 8);
    }
  return chunks;
}

// What a file costs: the same bytes hashed and written, synced at the end; read and hashed again.
struct PlainRates {
  double put_bytes_per_s = 0, read_bytes_per_s = 0;
};
PlainRates measure_plain(const fs::path& file, const std::vector<Bytes>& chunks) {
  const double bytes = static_cast<double>(chunks.size()) * static_cast<double>(chunks.front().size());
  PlainRates rates;
  std::vector<Digest> digests;
  auto start = Clock::now();
  {
    File out(file, O_WRONLY | O_CREAT | O_TRUNC);
    std::uint64_t offset = 0;
    for (const Bytes& chunk : chunks) {
      digests.push_back(sha256(chunk));
      out.write_at(offset, as_text(chunk));
      offset += chunk.size();
    }
    out.sync();
  }
  rates.put_bytes_per_s = bytes / seconds_since(start);
  start = Clock::now();
  const File in(file, O_RDONLY);
  for (std::size_t i = 0; i < chunks.size(); ++i)
    QUENCH_CHECK(sha256(in.read_at(i * chunks.front().size(), chunks.front().size())) == digests[i], i);
  rates.read_bytes_per_s = bytes / seconds_since(start);
  return rates;
}

// Opening a store of so many small chunks, and how much memory the process then has.
struct ManyChunks {
  double put_s = 0, open_s = 0;
  std::uint64_t resident_bytes = 0;
};
ManyChunks measure_many(const fs::path& directory, std::uint64_t count) {
  ManyChunks rates;
  auto start = Clock::now();
  {
    ArtifactStore store = ArtifactStore::open(directory, OpenMode::create);
    std::vector<Digest> digests;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::string chunk = "chunk " + std::to_string(i) + std::string(90, 'x');
      digests.push_back(store.put_chunk(as_bytes(chunk)));
      if (digests.size() < 50'000 && i + 1 < count) continue;
      store.commit(Commit().append_journal("bench", as_bytes("chunks"), digests));
      digests.clear();
    }
  }
  rates.put_s = seconds_since(start);
  start = Clock::now();
  const ArtifactStore store = ArtifactStore::open(directory, OpenMode::existing);
  rates.open_s = seconds_since(start);
  std::ifstream status("/proc/self/statm");
  std::uint64_t pages = 0;
  status >> pages >> pages;
  rates.resident_bytes = pages * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  return rates;
}

}  // namespace

StoreRates measure_store(const fs::path& directory, std::uint32_t mebibytes) {
  StoreRates rates;
  const std::vector<Bytes> chunks = random_chunks(mebibytes, kChunkBytes);
  const double bytes = static_cast<double>(mebibytes) * kChunkBytes;
  std::vector<Digest> digests;
  {
    ArtifactStore store = ArtifactStore::open(directory, OpenMode::create);
    auto start = Clock::now();
    for (const Bytes& chunk : chunks) digests.push_back(store.put_chunk(chunk));
    store.commit(Commit().append_journal("bench", as_bytes("chunks"), digests));
    rates.put_bytes_per_s = bytes / seconds_since(start);
    std::vector<double> commits;
    for (int i = 0; i < kCommits; ++i) {
      start = Clock::now();
      store.commit(Commit().append_journal("bench", as_bytes("event")));
      commits.push_back(seconds_since(start));
    }
    std::nth_element(commits.begin(), commits.begin() + kCommits / 2, commits.end());
    rates.commit_s = commits[kCommits / 2];
  }
  auto start = Clock::now();
  const ArtifactStore store = ArtifactStore::open(directory, OpenMode::existing);
  rates.open_s = seconds_since(start);
  start = Clock::now();
  for (const Digest& digest : digests) store.get_chunk(digest);
  rates.read_bytes_per_s = bytes / seconds_since(start);
  return rates;
}

int bench_store(const BenchStoreArguments& arguments) {
  const BenchDirectory directory(arguments.store);
  // The two take turns, so that neither has the disk to itself; the best of each counts.
  PlainRates plain;
  StoreRates rates;
  for (int round = 0; round < kRounds; ++round) {
    const PlainRates one = measure_plain(directory.path() / "plain", random_chunks(arguments.mebibytes, kChunkBytes));
    plain.put_bytes_per_s = std::max(plain.put_bytes_per_s, one.put_bytes_per_s);
    plain.read_bytes_per_s = std::max(plain.read_bytes_per_s, one.read_bytes_per_s);
    const StoreRates other = measure_store(directory.path() / "store", arguments.mebibytes);
    fs::remove_all(directory.path() / "store");
    fs::remove(directory.path() / "plain");
    if (round == 0) rates = other;
    rates.put_bytes_per_s = std::max(rates.put_bytes_per_s, other.put_bytes_per_s);
    rates.read_bytes_per_s = std::max(rates.read_bytes_per_s, other.read_bytes_per_s);
  }
  ManyChunks many;
  if (arguments.open_chunks > 0) many = measure_many(directory.path() / "many", arguments.open_chunks);
  if (arguments.json) {
    nlohmann::ordered_json document{{"chunks", arguments.mebibytes},
                                    {"chunk_bytes", kChunkBytes},
                                    {"put_bytes_per_s", rates.put_bytes_per_s},
                                    {"plain_put_bytes_per_s", plain.put_bytes_per_s},
                                    {"commit_s", rates.commit_s},
                                    {"read_bytes_per_s", rates.read_bytes_per_s},
                                    {"plain_read_bytes_per_s", plain.read_bytes_per_s},
                                    {"open_s", rates.open_s}};
    if (arguments.open_chunks > 0)
      document["many"] = {{"chunks", arguments.open_chunks}, {"put_s", many.put_s}, {"open_s", many.open_s}, {"resident_bytes", many.resident_bytes}};
    std::cout << document.dump(2) << "\n";
    return 0;
  }
  std::printf("%u chunks of 1 MiB beside %s\n  stored, one commit    %8.1f MB/s  (%.0f %% of a plain file's %.1f: SHA-256, write, sync)\n"
              "  read, digests checked %8.1f MB/s  (%.0f %% of a plain file's %.1f: read, SHA-256)\n"
              "  one small commit      %8.2f ms (synced, median of %d)\n  opening that store    %8.2f ms\n",
              arguments.mebibytes, directory.path().parent_path().c_str(), rates.put_bytes_per_s / 1e6,
              100 * rates.put_bytes_per_s / plain.put_bytes_per_s, plain.put_bytes_per_s / 1e6, rates.read_bytes_per_s / 1e6,
              100 * rates.read_bytes_per_s / plain.read_bytes_per_s, plain.read_bytes_per_s / 1e6, 1e3 * rates.commit_s, kCommits,
              1e3 * rates.open_s);
  if (arguments.open_chunks > 0)
    std::printf("  %llu small chunks: stored in %.1f s, opened in %.3f s, %.0f MB resident\n",
                static_cast<unsigned long long>(arguments.open_chunks), many.put_s, many.open_s,
                static_cast<double>(many.resident_bytes) / 1e6);
  return 0;
}

}  // namespace quench::coordinator
