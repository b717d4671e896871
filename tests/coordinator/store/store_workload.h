// What store_writer writes and crash_test expects: step N is commit N + 1, and its contents depend on
// the seed and N alone.
#pragma once

#include <string>
#include <thread>
#include <vector>

#include "tests/coordinator/store/store_fixture.h"

namespace quench::coordinator {

inline constexpr std::uint64_t kWorkloadStepsMax = 100000;
inline constexpr int kWorkloadThreads = 2;

// The chunks of a step: one per thread, of different sizes.
inline std::vector<Bytes> step_chunks(std::uint64_t seed, std::uint64_t step) {
  std::vector<Bytes> chunks;
  for (int t = 0; t < kWorkloadThreads; ++t)
    chunks.push_back(seeded_bytes(seed * 1000003 + step * kWorkloadThreads + t, 500 + (step * 7919) % 60000));
  return chunks;
}
inline Bytes step_manifest(std::uint64_t seed, std::uint64_t step) {
  return text_bytes("manifest " + std::to_string(seed) + " " + std::to_string(step));
}

inline std::uint64_t apply_step(ArtifactStore& store, std::uint64_t seed, std::uint64_t step) {
  const std::vector<Bytes> chunks = step_chunks(seed, step);
  std::vector<Digest> digests(chunks.size());
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < chunks.size(); ++t)
    threads.emplace_back([&, t] { digests[t] = store.put_chunk(chunks[t]); });
  for (std::thread& thread : threads) thread.join();
  const Bytes manifest = step_manifest(seed, step);
  return store.commit(Commit()
                          .put_object(sha256(manifest), manifest, digests)
                          .set_ref("newest", sha256(manifest), step)
                          .append_journal("job", text_bytes(std::to_string(step)), digests)
                          .put_result("r/" + std::to_string(step), text_bytes("yes")));
}

// Everything of the steps that make up `commits` commits, and of no later one, is in the store.
inline void expect_steps(const ArtifactStore& store, std::uint64_t seed, std::uint64_t commits) {
  const std::vector<JournalEvent> events = store.read_journal("job");
  ASSERT_EQ(events.size(), commits - 1);
  EXPECT_EQ(store.list_objects().size(), commits - 1);
  for (std::uint64_t step = 1; step < commits; ++step) {
    const std::vector<Bytes> chunks = step_chunks(seed, step);
    const StoredObject object = store.get_object(sha256(step_manifest(seed, step)));
    ASSERT_EQ(object.chunks.size(), chunks.size());
    for (std::size_t t = 0; t < chunks.size(); ++t) EXPECT_EQ(store.get_chunk(object.chunks[t]), chunks[t]);
    EXPECT_EQ(events[step - 1].bytes, text_bytes(std::to_string(step)));
    EXPECT_EQ(store.get_result("r/" + std::to_string(step)), text_bytes("yes"));
  }
  if (commits > 1) {
    EXPECT_EQ(store.find_ref("newest")->time_ms, commits - 1);
  }
}

}  // namespace quench::coordinator
