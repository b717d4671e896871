// What store_operator does to a store and fault_test expects of it: every operation that changes one, in turn. What the
// store must hold after so many steps is a function of their number alone.
#pragma once

#include <map>
#include <set>
#include <string>

#include "coordinator/store/keys.h"
#include "tests/coordinator/store/store_fixture.h"

namespace quench::coordinator {

inline constexpr std::uint64_t kFaultStepsMax = 30;
inline constexpr int kFaultKinds = 6;

struct ExpectedStore {
  std::map<std::string, std::string> names;  // to the text of the object
  std::set<std::string> results;
  std::uint64_t events = 0;
  std::uint64_t quota = 0;
  std::set<std::uint64_t> backups;  // by their step
};

inline std::string fault_name(std::uint64_t round) { return "org/m" + std::to_string(round % 4) + ":latest"; }
inline std::string fault_object(std::uint64_t step) { return "object of step " + std::to_string(step); }
inline std::vector<Bytes> fault_chunks(std::uint64_t step) {
  return {seeded_bytes(step % 3, 30'000), seeded_bytes(1000 + step, 2'000 + 700 * step), seeded_bytes(2000 + step / 12, 50)};
}
inline std::filesystem::path fault_backup(const std::filesystem::path& store, std::uint64_t step) {
  return store.parent_path() / ("backup-" + std::to_string(step));
}
inline Bytes quota_bytes(std::uint64_t quota) {
  std::string payload;
  append_u64(payload, quota);
  return text_bytes(payload);
}

// The state after `steps` steps.
inline ExpectedStore expected_after(std::uint64_t steps) {
  ExpectedStore expected;
  for (std::uint64_t step = 0; step < steps; ++step) {
    const std::uint64_t round = step / kFaultKinds;
    switch (step % kFaultKinds) {
      case 0:
        expected.names[fault_name(round)] = fault_object(step);
        break;
      case 1:
        expected.names["org/best"] = fault_object(step - 1);
        break;
      case 2:
        expected.results.insert("verdict/" + std::to_string(step));
        ++expected.events;
        break;
      case 3:
        if (round >= 1) expected.names.erase(fault_name(round - 1));
        break;
      case 4:
        expected.quota = 1'000'000'000 + step;
        expected.results.insert("signature/" + std::to_string(step));
        break;
      case 5:
        expected.backups.insert(step);
        break;
    }
  }
  return expected;
}

inline void apply_fault_step(ArtifactStore& store, std::uint64_t step) {
  const std::uint64_t round = step / kFaultKinds;
  const std::string object = fault_object(step);
  switch (step % kFaultKinds) {
    case 0: {  // publish
      std::vector<Digest> chunks;
      for (const Bytes& chunk : fault_chunks(step)) chunks.push_back(store.put_chunk(chunk));
      store.commit(Commit().put_object(sha256(object), text_bytes(object), chunks).set_ref(fault_name(round), sha256(object), step));
      break;
    }
    case 1: {  // tag
      const std::optional<Ref> before = store.find_ref("org/best");
      store.commit(Commit()
                       .expect_ref("org/best", before ? before->object : Digest{})
                       .set_ref("org/best", sha256(fault_object(step - 1)), step));
      break;
    }
    case 2:  // a verdict and a block
      store.commit(Commit()
                       .put_result("verdict/" + std::to_string(step), text_bytes("passed"))
                       .append_journal("job", text_bytes(std::to_string(step)), std::vector{store.put_chunk(fault_chunks(step)[0])}));
      break;
    case 3:  // end a name and collect
      if (round >= 1 && store.find_ref(fault_name(round - 1))) store.commit(Commit().delete_ref(fault_name(round - 1), step));
      {
        CollectOptions options;
        options.now_ms = step;
        options.name_grace_ms = 0;
        options.rewrite_share = 0.1;
        store.collect(options);
      }
      break;
    case 4:  // a policy and a signature
      store.commit(Commit()
                       .put_setting("quota", quota_bytes(1'000'000'000 + step))
                       .put_result("signature/" + std::to_string(step), text_bytes("signed")));
      break;
    case 5:  // a backup
      store.checkpoint(fault_backup(store.directory(), step));
      break;
  }
}

}  // namespace quench::coordinator
