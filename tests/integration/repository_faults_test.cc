// `quench artifacts push`, `pull`, `tag` and `gc`, killed before any one of their calls that change a file: whatever the command
// acknowledged is there in both stores, what it did not is whole or not there, and run again it is done. The store's own
// operations are in tests/coordinator/store/fault_test.cc.
//
// Three places of each here; QUENCH_FAULTS_FULL=1 takes 250.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>

#include "coordinator/store/artifact_store.h"
#include "schemas/error.h"
#include "tests/integration/small_job.h"

namespace quench::testing {
namespace {

namespace fs = std::filesystem;
using coordinator::ArtifactStore;
using coordinator::OpenMode;
using coordinator::Ref;
using nlohmann::json;

constexpr const char* kName = "small/int8";

struct Faulty {
  std::vector<std::string> words;
  bool on_far = false;  // it is the far store's command, and else the near one's
};

class RepositoryFaults : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    made_ = new ScratchDirectory;
    json job = small_job();
    job.erase("calibration");
    job["baseline"] = false;
    job["quantize"] = {{{"method", "int8"}}, {{"method", "rtn"}, {"bits", 3}, {"groupSize", 32}}};
    write_text(*made_ / "job.json", job.dump());
    const Finished finished = run(run_arguments(*made_ / "job.json", *made_ / "near", 1));
    ASSERT_EQ(finished.exit_code, 0) << finished.err;
    // The far store has one of the two, which shares chunks with the other, and something that no name keeps.
    for (const std::vector<std::string>& words :
         {std::vector<std::string>{"push", "small/rtn-3bit-g32-sym", "--to", *made_ / "far", "--as", "lab/rtn:v1"},
          {"push", kName, "--to", *made_ / "far", "--as", "lab/gone"}})
      ASSERT_EQ(command(words, *made_ / "near").exit_code, 0);
    ASSERT_EQ(command({"rm", "lab/gone"}, *made_ / "far").exit_code, 0);
  }
  static void TearDownTestSuite() {
    delete made_;
    made_ = nullptr;
  }

  static Finished command(std::vector<std::string> words, const fs::path& store, const Environment& added = {}) {
    words.insert(words.begin(), {quench_program(), "artifacts"});
    words.insert(words.end(), {"--store", store.string()});
    return run(words, added);
  }
  fs::path near() const { return here_ / "home" / "near"; }
  fs::path far() const { return here_ / "home" / "far"; }
  void fresh() const {
    fs::remove_all(here_ / "home");
    fs::create_directories(here_ / "home");
    for (const char* store : {"near", "far"})
      for (const char* part : {"catalog", "chunks", "HEAD"}) {
        fs::create_directories(here_ / "home" / store);
        fs::copy(*made_ / store / part, here_ / "home" / store / part, fs::copy_options::recursive);
      }
  }
  Finished operate(const Faulty& faulty, std::uint64_t at) const {
    return command(faulty.words, faulty.on_far ? far() : near(),
                   {{"LD_PRELOAD", QUENCH_BIN_DIR "/libfault_shim.so"}, {"FAULT_DIR", here_ / "home"}, {"FAULT_KIND", at > 0 ? "kill" : ""},
                    {"FAULT_AT", std::to_string(at)}, {"FAULT_CALLS", "wsrcu"}, {"FAULT_COUNT_FILE", here_ / "count"}});
  }
  // The names and what they mean, everything checked that they mean.
  static std::map<std::string, std::string> names_of(const fs::path& directory) {
    const ArtifactStore store = ArtifactStore::open(directory, OpenMode::existing);
    const coordinator::VerifyReport report = store.verify();
    EXPECT_EQ(report.exit_status(), 0) << directory << ": " << ::testing::PrintToString(report.findings);
    std::map<std::string, std::string> names;
    for (const Ref& ref : store.list_refs()) {
      names[ref.name] = ref.object.hex();
      const coordinator::StoredObject object = store.get_object(ref.object);
      EXPECT_FALSE(object.collected_ms) << ref.name;
      for (const Digest& chunk : object.chunks) EXPECT_TRUE(store.has_chunk(chunk)) << ref.name;
    }
    return names;
  }

  void killed_anywhere(const Faulty& faulty) const {
    fresh();
    const auto near_before = names_of(near()), far_before = names_of(far());
    const Finished whole = operate(faulty, 0);
    ASSERT_EQ(whole.exit_code, 0) << whole.err;
    const auto near_after = names_of(near()), far_after = names_of(far());
    std::uint64_t count = 0;
    std::ifstream(here_ / "count") >> count;
    ASSERT_GT(count, 10u);
    const std::uint64_t runs = std::getenv("QUENCH_FAULTS_FULL") != nullptr ? 250 : 3;
    std::uint64_t killed = 0;
    for (std::uint64_t i = 0; i < runs && !HasFailure(); ++i) {
      // The last calls are where it is acknowledged, so the first run is at the last of them.
      const std::uint64_t at = count - (i * count / runs + (runs > count ? 0 : i * 7 % (count / runs))) % count;
      SCOPED_TRACE("call " + std::to_string(at) + " of " + std::to_string(count));
      fresh();
      const Finished ended = operate(faulty, at);
      killed += ended.exit_code == 137;
      EXPECT_TRUE(ended.exit_code == 137 || ended.exit_code == 0) << ended.exit_code << ended.err;
      const auto near_now = names_of(near()), far_now = names_of(far());
      EXPECT_TRUE(near_now == near_after || (near_now == near_before && ended.exit_code != 0));
      EXPECT_TRUE(far_now == far_after || (far_now == far_before && ended.exit_code != 0));
      const Finished again = command(faulty.words, faulty.on_far ? far() : near());
      EXPECT_EQ(again.exit_code, 0) << again.err;
      EXPECT_EQ(names_of(near()), near_after);
      EXPECT_EQ(names_of(far()), far_after);
    }
    EXPECT_GE(killed, runs / 2);
    std::printf("killed at %llu places of %llu calls\n", static_cast<unsigned long long>(killed), static_cast<unsigned long long>(count));
  }

  static inline const ScratchDirectory* made_ = nullptr;
  ScratchDirectory here_;
};

TEST_F(RepositoryFaults, APushIsWholeOrNotThere) { killed_anywhere({{"push", kName, "--to", far().string(), "--as", "lab/int8:v1"}}); }
TEST_F(RepositoryFaults, APullIsWholeOrNotThere) { killed_anywhere({{"pull", kName, "--from", near().string(), "--as", "lab/int8:v1"}, true}); }
TEST_F(RepositoryFaults, ATagIsWholeOrNotThere) { killed_anywhere({{"tag", kName, "lab/int8:v1"}}); }
TEST_F(RepositoryFaults, ACollectionTakesNothingThatANameKeeps) { killed_anywhere({{"gc", "--grace", "0"}, true}); }

}  // namespace
}  // namespace quench::testing
