#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/store_rates.h"
#include "coordinator/store/artifact_store.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kChunkBytes = 1 << 20;
constexpr int kCommits = 21;

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

StoreRates measure_store(const fs::path& directory, std::uint32_t mebibytes) {
  StoreRates rates;
  std::vector<Bytes> chunks(mebibytes, Bytes(kChunkBytes));
  std::mt19937_64 random(1);
  for (Bytes& chunk : chunks)
    for (std::size_t i = 0; i < chunk.size(); i += 8) {
      const std::uint64_t word = random();
      std::memcpy(chunk.data() + i, &word, 8);
    }
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
  const StoreRates rates = measure_store(directory.path() / "store", arguments.mebibytes);
  if (arguments.json)
    std::cout << nlohmann::ordered_json{{"chunks", arguments.mebibytes},
                                        {"chunk_bytes", kChunkBytes},
                                        {"put_bytes_per_s", rates.put_bytes_per_s},
                                        {"commit_s", rates.commit_s},
                                        {"read_bytes_per_s", rates.read_bytes_per_s},
                                        {"open_s", rates.open_s}}
                     .dump(2)
              << "\n";
  else
    std::printf("%u chunks of 1 MiB beside %s\n  stored, one commit    %8.1f MB/s\n  read, digests checked %8.1f MB/s\n"
                "  one small commit      %8.2f ms (synced, median of %d)\n  opening that store    %8.2f ms\n",
                arguments.mebibytes, directory.path().parent_path().c_str(), rates.put_bytes_per_s / 1e6,
                rates.read_bytes_per_s / 1e6, 1e3 * rates.commit_s, kCommits, 1e3 * rates.open_s);
  return 0;
}

}  // namespace quench::coordinator
