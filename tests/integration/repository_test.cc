// `quench artifacts` on a real job's store: names, lineage, collecting, trust, moving, care. Each test has a copy of one
// store, made once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <span>

#include "coordinator/records.h"
#include "coordinator/store/artifact_store.h"
#include "schemas/codec.h"
#include "tests/integration/small_job.h"

namespace quench::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using coordinator::ArtifactStore;
using coordinator::OpenMode;
using nlohmann::json;

constexpr const char* kBest = "small/gptq-4bit-g32-sym";

class RepositoryOfAJob : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    home_ = new ScratchDirectory;
    write_text(*home_ / "calibration.txt", read_text(fixture("calibration_python.txt")).substr(0, 60'000));
    json job = small_job();
    job["calibration"]["files"] = {(*home_ / "calibration.txt").string()};
    job["evaluate"] = {{{"benchmark", "humaneval"}, {"maxTokens", 4}, {"tasks", 2}}};
    write_text(*home_ / "job.json", job.dump());
    const Finished finished = run(run_arguments(*home_ / "job.json", *home_ / "store", 1));
    ASSERT_EQ(finished.exit_code, 0) << finished.err;
  }
  static void TearDownTestSuite() {
    delete home_;
    home_ = nullptr;
  }
  void SetUp() override {
    for (const char* part : {"catalog", "chunks"})
      fs::copy(*home_ / "store" / part, store() / part, fs::copy_options::recursive);
    fs::copy_file(*home_ / "store" / "HEAD", store() / "HEAD");
  }
  RepositoryOfAJob() { fs::create_directories(store()); }

  fs::path store() const { return scratch_ / "store"; }
  fs::path other() const { return scratch_ / "other"; }
  static Finished at(const fs::path& where, std::vector<std::string> words, const Environment& added = {}) {
    words.insert(words.begin(), {quench_program(), "artifacts"});
    words.insert(words.end(), {"--store", where});
    return run(words, added);
  }
  Finished artifacts(const std::vector<std::string>& words) const { return at(store(), words); }
  std::string done(const std::vector<std::string>& words) const { return done_at(store(), words); }
  static std::string done_at(const fs::path& where, const std::vector<std::string>& words) {
    const Finished finished = at(where, words);
    EXPECT_EQ(finished.exit_code, 0) << ::testing::PrintToString(words) << "\n" << finished.out << finished.err;
    return finished.out;
  }
  json json_of(std::vector<std::string> words) const {
    words.push_back("--json");
    return json::parse(done(words));
  }
  std::vector<std::string> names(std::vector<std::string> words) const {
    words.insert(words.begin(), "ls");
    std::vector<std::string> found;
    for (const json& one : json_of(words)) found.push_back(one["name"]);
    return found;
  }
  std::string digest_of(const std::string& ref) const { return json_of({"show", ref})["known"]["digest"]; }
  // A second, short job: one artifact, more/rtn-2bit-g32-sym.
  Finished run_more(const Environment& added = {}) const {
    json job = small_job();
    job["name"] = "more";
    job["baseline"] = false;
    job["quantize"] = {{{"method", "rtn"}, {"bits", 2}, {"groupSize", 32}}};
    write_text(scratch_ / "more.json", job.dump());
    return run(run_arguments(scratch_ / "more.json", store(), 1), added);
  }
  void make_key(const std::string& name) const { done({"key", "new", "--out", scratch_ / name}); }

  ScratchDirectory scratch_;
  static const ScratchDirectory* home_;
};
const ScratchDirectory* RepositoryOfAJob::home_ = nullptr;

TEST_F(RepositoryOfAJob, ListsByModelMethodBitsAndSorts) {
  EXPECT_EQ(names({}).size(), 6u);
  EXPECT_EQ(names({"--method", "gptq"}).size(), 3u);
  EXPECT_EQ(names({"--method", "gptq", "--bits", "4"}), std::vector<std::string>{kBest});
  EXPECT_EQ(names({"--name", "small/rtn*"}), std::vector<std::string>{"small/rtn-3bit-g32-sym"});
  EXPECT_EQ(names({"--model", "stories"}).size(), 6u);
  EXPECT_TRUE(names({"--model", "llama-70b"}).empty());
  const std::vector<std::string> by_size = names({"--sort", "size", "--reverse"});
  EXPECT_EQ(by_size.front(), "small/none");
  const std::vector<std::string> by_bits = names({"--sort", "bits"});
  EXPECT_EQ(by_bits.back(), "small/none");
  EXPECT_EQ(names({"--sort", "loss"}).front(), "small/none");
  for (const json& one : json_of({"ls", "--sort", "pass@1"})) EXPECT_EQ(one["benchmark"], "humaneval");
  const std::uint64_t best_bytes = json_of({"ls", "--name", kBest})[0]["bytes"];
  for (const json& one : json_of({"ls", "--max-size", std::to_string(best_bytes)})) EXPECT_LE(one["bytes"], best_bytes);
  EXPECT_THAT(names({"--max-size", std::to_string(best_bytes)}), Contains(kBest));
  EXPECT_THAT(names({"--max-size", std::to_string(best_bytes - 1)}), Not(Contains(kBest)));
  EXPECT_EQ(names({"--min-pass@1", "0"}).size(), json_of({"ls"}).size());
  EXPECT_TRUE(names({"--min-pass@1", "100"}).empty());
  EXPECT_EQ(artifacts({"ls", "--max-size", "large"}).exit_code, 2);
  EXPECT_THAT(artifacts({"ls", "--sort", "beauty"}).err, HasSubstr("expected name, date, size, bits, loss, pass@1"));
}

TEST_F(RepositoryOfAJob, ShowsWhereAnArtifactComesFrom) {
  const json document = json_of({"show", kBest});
  EXPECT_EQ(document["losses"].size(), 35u);
  const json& shown = document["known"];
  EXPECT_EQ(shown["model"], "stories260k");
  EXPECT_EQ(shown["job"], "small");
  EXPECT_EQ(shown["names"], json::array({kBest}));
  ASSERT_EQ(shown["runs"].size(), 1u);
  EXPECT_EQ(shown["runs"][0]["ranks"], 1);
  ASSERT_EQ(shown["scores"].size(), 1u);
  EXPECT_TRUE(shown["scores"][0]["pass_at_1"].is_number());
  const std::string text = done({"show", kBest});
  for (const char* part : {"stories260k", "pass@1", "job small", "not signed", "relative loss"}) EXPECT_THAT(text, HasSubstr(part));
}

TEST_F(RepositoryOfAJob, TellsTwoArtifactsApart) {
  const json diff = json_of({"diff", "small/int8", kBest});
  EXPECT_EQ(diff["same_source"], true);
  EXPECT_EQ(diff["tensors_same"], 12) << "embeddings and norms";
  EXPECT_EQ(diff["tensors_changed"].size(), 35u);
  EXPECT_EQ(diff["recipe"][0]["field"], "method");
  EXPECT_EQ(diff["scores"].size(), 1u);
  EXPECT_GT(diff["bytes_shared"].get<int>(), 100'000);
  EXPECT_THAT(done({"diff", "small/int8", "small/int8"}), HasSubstr("the same artifact"));
}

TEST_F(RepositoryOfAJob, MeasuresWhatASweepShares) {
  const json sharing = json_of({"sharing"});
  EXPECT_EQ(sharing["artifacts"], 6);
  const json& embeddings = sharing["parts"]["embeddings"];
  EXPECT_EQ(embeddings["bytes_apart"], 6 * embeddings["bytes_together"].get<int>());
  std::uint64_t own = 0;
  for (const json& one : sharing["each"]) own += one["own_bytes"].get<std::uint64_t>();
  EXPECT_LE(own, sharing["bytes_together"].get<std::uint64_t>());
}

TEST_F(RepositoryOfAJob, NamesHaveAHistoryThatCanBeUndone) {
  const std::string best = digest_of(kBest), int8 = digest_of("small/int8");
  done({"tag", kBest, "lab/model:best"});
  done({"tag", "small/int8", "lab/model:best", "--expect", best});
  EXPECT_EQ(digest_of("lab/model:best"), int8);
  const Finished late = artifacts({"tag", "small/rtn-3bit-g32-sym", "lab/model:best", "--expect", best});
  EXPECT_EQ(late.exit_code, 2);
  EXPECT_THAT(late.err, HasSubstr("somebody else changed it meanwhile"));
  EXPECT_EQ(artifacts({"tag", "small/int8", "lab/model:best", "--expect", "none"}).exit_code, 2);
  done({"undo", "lab/model:best"});
  EXPECT_EQ(digest_of("lab/model:best"), best);
  done({"undo", "lab/model:best"});
  EXPECT_EQ(digest_of("lab/model:best"), int8) << "an undo is undone";
  done({"rm", "lab/model:best"});
  EXPECT_EQ(artifacts({"show", "lab/model:best"}).exit_code, 2);
  done({"undo", "lab/model:best"});
  EXPECT_EQ(digest_of("lab/model:best"), int8);
  done({"undo", "lab/model:best", "--steps", "6"});
  EXPECT_EQ(artifacts({"show", "lab/model:best"}).exit_code, 2) << "before its first change it was not set";
  EXPECT_EQ(artifacts({"undo", "lab/model:best", "--steps", "50"}).exit_code, 2);
  EXPECT_EQ(json_of({"log", "lab/model:best"}).size(), 7u);
  EXPECT_EQ(artifacts({"rm", "small/int8", "no/such"}).exit_code, 2);
  EXPECT_EQ(digest_of("small/int8"), int8) << "all names or none";
}

TEST_F(RepositoryOfAJob, RefusesNamesThatAreNone) {
  for (const std::string& bad : {std::string("../../etc/passwd"), std::string("a/../b"), std::string(10'000, 'a'),
                                 std::string("lab/m\xD0\xBE" "del"), std::string("lab/model:a:b"), std::string("-rf"), std::string("a\nb")}) {
    const Finished finished = artifacts({"tag", kBest, "--", bad});
    EXPECT_EQ(finished.exit_code, 2) << bad;
    EXPECT_LT(finished.err.size(), 2000u);
    EXPECT_EQ(artifacts({"pull", kBest, "--from", *home_ / "store", "--as=" + bad}).exit_code, 2) << bad;
    EXPECT_EQ(artifacts({"show", "--", bad}).exit_code, 2) << bad;
  }
  EXPECT_EQ(names({}).size(), 6u);
}

TEST_F(RepositoryOfAJob, CollectsWhatHasNoNameAndKeepsItsRecord) {
  const std::string digest = digest_of("small/none");
  const json before = json_of({"sharing"});
  done({"rm", "small/none"});
  EXPECT_EQ(json_of({"gc"})["objects_collected"].size(), 0u) << "names are graced";
  const json dry = json_of({"gc", "--grace", "0", "--dry-run"});
  EXPECT_EQ(dry["objects_collected"], json::array({digest}));
  const json gc = json_of({"gc", "--grace", "0"});
  EXPECT_EQ(gc["objects_collected"], json::array({digest}));
  EXPECT_EQ(gc["chunks_removed"], dry["chunks_removed"]);
  EXPECT_EQ(gc["bytes_removed"], dry["bytes_removed"]);
  EXPECT_LT(gc["file_bytes_after"].get<double>(), 0.6 * gc["file_bytes_before"].get<double>());
  EXPECT_THAT(done({"verify"}), HasSubstr("everything has its digest"));
  // The record is left, the weights are not, and that is said.
  EXPECT_THAT(done({"show", digest}), HasSubstr("collected"));
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"export", digest, "--format", "fp16", "--to", scratch_ / "out"},
        {"export", digest, "--format", "oci", "--to", scratch_ / "out"},
        {"push", digest, "--to", other(), "--as", "m"},
        {"tag", digest, "again"},
        {"undo", "small/none"}}) {
    const Finished finished = artifacts(words);
    EXPECT_EQ(finished.exit_code, 2) << words[0];
    EXPECT_THAT(finished.err, HasSubstr("collector took")) << words[0];
  }
  const Finished generated = run_quench({"generate", digest, "--prompt", "Once", "--max-tokens", "2"}, store());
  EXPECT_NE(generated.exit_code, 0);
  EXPECT_THAT(generated.err, HasSubstr("collector took"));
  // The job is reported as before, and what others share with the collected one still works.
  EXPECT_EQ(run_quench({"report", digest, kBest}, store()).exit_code, 0);
  EXPECT_EQ(run_quench({"generate", kBest, "--prompt", "Once", "--max-tokens", "2"}, store()).exit_code, 0);
  EXPECT_EQ(before["artifacts"], 6);
  // Where it is still had, it comes back.
  const fs::path source = *home_ / "store";
  done({"pull", digest, "--from", source, "--as", "small/none"});
  EXPECT_EQ(run_quench({"generate", "small/none", "--prompt", "Once", "--max-tokens", "2"}, store()).exit_code, 0);
  EXPECT_THAT(done({"verify"}), HasSubstr("everything has its digest"));
}

TEST_F(RepositoryOfAJob, EndsNamesByTheirPattern) {
  for (int i = 0; i < 5; ++i) done({"tag", kBest, "lab/nightly-" + std::to_string(i)});
  EXPECT_EQ(artifacts({"policy", "--retain", "lab/nightly-*"}).exit_code, 2);
  EXPECT_EQ(artifacts({"policy", "--retain", "lab/nightly-*=keep:0"}).exit_code, 2);
  done({"policy", "--retain", "lab/nightly-*=keep:2"});
  EXPECT_EQ(json_of({"gc", "--dry-run"})["names_ended"].size(), 3u);
  EXPECT_EQ(json_of({"gc"})["names_ended"], json::array({"lab/nightly-0", "lab/nightly-1", "lab/nightly-2"}));
  EXPECT_EQ(names({"--name", "lab/*"}).size(), 2u);
  EXPECT_EQ(names({}).size(), 8u);
}

TEST_F(RepositoryOfAJob, AFullQuotaRefusesAndHealsWhenItIsRaised) {
  done({"policy", "--quota", "1k"});
  EXPECT_EQ(artifacts({"pull", "small/int8", "--from", *home_ / "store", "--as", "again"}).exit_code, 0) << "no new bytes";
  at(other(), {"pull", "small/int8", "--from", *home_ / "store"});
  done_at(other(), {"policy", "--quota", "400k"});
  const Finished full = at(other(), {"pull", kBest, "--from", *home_ / "store"});
  EXPECT_EQ(full.exit_code, 3);
  EXPECT_THAT(full.err, HasSubstr("quota"));
  EXPECT_THAT(full.err, HasSubstr("quench artifacts gc"));
  EXPECT_EQ(run_quench({"generate", "small/int8", "--prompt", "Once", "--max-tokens", "2"}, other()).exit_code, 0);
  EXPECT_THAT(done_at(other(), {"verify"}), HasSubstr("everything has its digest"));
  done_at(other(), {"policy", "--quota", "1M"});
  done_at(other(), {"pull", kBest, "--from", *home_ / "store"});
  EXPECT_EQ(artifacts({"policy", "--quota", "many"}).exit_code, 2);
}

TEST_F(RepositoryOfAJob, AnOrganisationsQuotaRefusesItsNamesAndNobodyElses) {
  done({"policy", "--org-quota", "lab=400k", "--org-quota", "small=2M"});
  done({"tag", "small/int8", "lab/int8:v1"});
  const json shown = json_of({"policy"});
  ASSERT_EQ(shown["organisations"].size(), 2u);
  EXPECT_EQ(shown["organisations"][0]["name"], "lab");
  EXPECT_EQ(shown["organisations"][0]["quota_bytes"], 400'000);
  EXPECT_GT(shown["organisations"][0]["held_bytes"], 100'000);
  EXPECT_THAT(done({"policy"}), HasSubstr("lab: 0.40 MB"));
  const Finished full = artifacts({"tag", "small/none", "lab/none:v1"});
  EXPECT_EQ(full.exit_code, 3);
  EXPECT_THAT(full.err, HasSubstr("the quota of lab"));
  EXPECT_EQ(artifacts({"push", "small/none", "--to", other()}).exit_code, 0) << "another store's names";
  EXPECT_EQ(artifacts({"pull", "small/none", "--from", other(), "--as", "lab/none:v1"}).exit_code, 3);
  EXPECT_EQ(artifacts({"show", "lab/none:v1"}).exit_code, 2) << "nothing is half published";
  done({"tag", "small/none", "elsewhere/none:v1"});
  // A job whose artifacts have no room says so; what it has done is kept until there is some.
  done({"policy", "--org-quota", "more=1k"});
  const Finished refused = run_more();
  EXPECT_EQ(refused.exit_code, 3) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("the quota of more"));
  done({"policy", "--org-quota", "more=none", "--org-quota", "lab=none"});
  EXPECT_EQ(json_of({"policy"})["organisations"].size(), 1u);
  EXPECT_EQ(run_more().exit_code, 0);
  for (const char* bad : {"lab", "lab/model=1G", "=1G", "la\nb=1G", "lab=many"})
    EXPECT_EQ(artifacts({"policy", "--org-quota", bad}).exit_code, 2) << bad;
}

TEST_F(RepositoryOfAJob, SignaturesDecideWhatVerifySaysAndWhatIsPublished) {
  make_key("lab");
  make_key("stranger");
  EXPECT_EQ(artifacts({"policy", "--signatures", "demanded"}).exit_code, 2) << "nobody could publish";
  EXPECT_EQ(artifacts({"trust", "add", "lab", "--key", scratch_ / "lab"}).exit_code, 2) << "a private key";
  done({"trust", "add", "lab", "--key", scratch_ / "lab.pub"});
  EXPECT_EQ(artifacts({"verify"}).exit_code, 2) << "untrusted: nothing is signed";
  for (const std::string& name : names({})) done({"sign", name, "--key", scratch_ / "lab"});
  EXPECT_EQ(artifacts({"verify"}).exit_code, 0);
  done({"policy", "--signatures", "demanded"});
  done({"tag", kBest, "lab/signed"});
  const json shown = json_of({"show", kBest})["known"];
  EXPECT_EQ(shown["signature"]["standing"], "trusted");
  // Signatures travel; a store that trusts nobody has no opinion, one that trusts others cannot tell.
  done({"push", kBest, "--to", other()});
  EXPECT_EQ(at(other(), {"verify"}).exit_code, 0);
  done_at(other(), {"trust", "add", "someone", "--key", scratch_ / "stranger.pub"});
  EXPECT_EQ(at(other(), {"verify"}).exit_code, 4) << "unverifiable: signed by an unknown key";
  done_at(other(), {"policy", "--signatures", "demanded"});
  const Finished refused = at(other(), {"tag", kBest, "mine"});
  EXPECT_EQ(refused.exit_code, 3);
  EXPECT_THAT(refused.err, HasSubstr("demands signatures"));
  done_at(other(), {"sign", kBest, "--key", scratch_ / "stranger"});
  done_at(other(), {"tag", kBest, "mine"});
  EXPECT_EQ(at(other(), {"pull", "small/int8", "--from", store()}).exit_code, 3) << "signed, but not by whom it trusts";
  EXPECT_EQ(at(other(), {"verify"}).exit_code, 0);
}

TEST_F(RepositoryOfAJob, AJobOnAStoreThatDemandsSignaturesSignsWithItsKey) {
  make_key("lab");
  done({"trust", "add", "lab", "--key", scratch_ / "lab.pub"});
  done({"policy", "--signatures", "demanded"});
  const Finished refused = run_more();
  EXPECT_EQ(refused.exit_code, 3) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("QUENCH_SIGNING_KEY"));
  const Finished signed_run = run_more({{"QUENCH_SIGNING_KEY", scratch_ / "lab"}});
  EXPECT_EQ(signed_run.exit_code, 0) << signed_run.err;
  EXPECT_EQ(json_of({"show", "more/rtn-2bit-g32-sym"})["known"]["signature"]["standing"], "trusted");
}

TEST_F(RepositoryOfAJob, AnOciLayoutGoesOutAndComesBackTheSame) {
  const fs::path layout = scratch_ / "layout";
  done({"export", kBest, "--format", "oci", "--to", layout});
  done({"export", "small/int8", "--format", "oci", "--to", scratch_ / "layout-int8"});
  for (const fs::directory_entry& blob : fs::directory_iterator(layout / "blobs" / "sha256"))
    EXPECT_EQ(sha256_file(blob.path()).hex(), blob.path().filename().string());
  const json index = json::parse(read_text(layout / "index.json"));
  EXPECT_EQ(index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"], kBest);
  const json image = json::parse(read_text(layout / "blobs" / "sha256" / index["manifests"][0]["digest"].get<std::string>().substr(7)));
  EXPECT_EQ(image["config"]["digest"], "sha256:" + digest_of(kBest)) << "the config's digest is the artifact's";
  EXPECT_GE(image["layers"].size(), 6u) << "files and outer tensors, five blocks";
  // What the two share (files, embeddings) is one blob for a registry.
  int shared = 0;
  for (const fs::directory_entry& blob : fs::directory_iterator(layout / "blobs" / "sha256"))
    shared += fs::exists(scratch_ / "layout-int8" / "blobs" / "sha256" / blob.path().filename());
  EXPECT_GE(shared, 2);
  EXPECT_EQ(artifacts({"export", kBest, "--format", "oci", "--to", layout}).exit_code, 2) << "nothing is overwritten";
  done({"export", kBest, "--format", "oci", "--to", scratch_ / "again"});
  EXPECT_EQ(read_text(scratch_ / "again" / "index.json"), read_text(layout / "index.json"));

  done_at(other(), {"import", "--from", layout});
  EXPECT_THAT(done_at(other(), {"show", kBest}), HasSubstr("small"));
  EXPECT_EQ(json::parse(done_at(other(), {"show", kBest, "--json"}))["known"]["digest"], digest_of(kBest));
  EXPECT_EQ(json::parse(done_at(other(), {"show", kBest, "--json"}))["known"]["runs"].size(), 1u) << "run records go along";
  EXPECT_THAT(done_at(other(), {"verify"}), HasSubstr("everything has its digest"));
  EXPECT_EQ(run_quench({"generate", kBest, "--prompt", "Once", "--max-tokens", "2"}, other()).out,
            run_quench({"generate", kBest, "--prompt", "Once", "--max-tokens", "2"}, store()).out);
  const Finished taken = at(other(), {"import", "--from", scratch_ / "layout-int8", "--as", kBest});
  EXPECT_EQ(taken.exit_code, 2);
  EXPECT_THAT(taken.err, HasSubstr("is taken"));
}

TEST_F(RepositoryOfAJob, NothingOfADamagedLayoutIsTaken) {
  const fs::path layout = scratch_ / "layout";
  done({"export", kBest, "--format", "oci", "--to", layout});
  std::vector<fs::path> files = {layout / "index.json"};
  for (const fs::directory_entry& blob : fs::directory_iterator(layout / "blobs" / "sha256")) files.push_back(blob.path());
  const auto expect_refused = [&](const std::string& what) {
    const fs::path fresh = scratch_ / "fresh";
    const Finished finished = at(fresh, {"import", "--from", layout});
    EXPECT_TRUE(finished.exit_code == 1 || finished.exit_code == 2) << what << ": " << finished.exit_code << finished.out;
    EXPECT_THAT(finished.err, HasSubstr(layout.string())) << what;
    EXPECT_EQ(done_at(fresh, {"ls", "--json"}), "[]\n") << what;
    fs::remove_all(fresh);
  };
  for (const fs::path& file : files) {
    const std::string whole = read_text(file), name = file.filename().string();
    std::string changed = whole;
    changed[changed.size() / 2] = static_cast<char>(changed[changed.size() / 2] ^ 1);
    write_text(file, changed);
    expect_refused(name + " changed");
    // The rest is the same code for every layer.
    if (&file != &files.front() && whole.size() > 20'000 && whole.size() < 100'000) {
      write_text(file, whole);
      continue;
    }
    write_text(file, whole.substr(0, whole.size() - 1));
    expect_refused(name + " cut");
    write_text(file, whole + "x");
    expect_refused(name + " longer");
    fs::remove(file);
    expect_refused(name + " removed");
    write_text(file, whole);
  }
  // A descriptor whose digest is a path, and sizes that no blob has.
  const std::string whole = read_text(layout / "index.json");
  for (const auto& [field, value] : {std::pair<std::string, json>{"digest", "sha256:../../../../etc/passwd"},
                                     {"digest", "md5:00"}, {"digest", 7}, {"size", -1}, {"size", 1ull << 60}, {"size", "many"}}) {
    json index = json::parse(whole);
    index["manifests"][0][field] = value;
    write_text(layout / "index.json", index.dump());
    expect_refused(field + " " + value.dump());
  }
  write_text(layout / "index.json", whole);
  done_at(scratch_ / "fresh", {"import", "--from", layout});
}

// Every digest fits; what the manifest says does not.
TEST_F(RepositoryOfAJob, AHostileManifestIsRefused) {
  const fs::path layout = scratch_ / "layout", blobs = layout / "blobs" / "sha256";
  const auto put_blob = [&](const std::string& bytes) {
    const std::string hex = sha256(bytes).hex();
    write_text(blobs / hex, bytes);
    return hex;
  };
  const auto expect_refused = [&](const std::string& what, const std::string& reason, const std::function<void(Manifest&, json&)>& change) {
    fs::remove_all(layout);
    done({"export", kBest, "--format", "oci", "--to", layout});
    json index = json::parse(read_text(layout / "index.json"));
    json image = json::parse(read_text(blobs / index["manifests"][0]["digest"].get<std::string>().substr(7)));
    const std::string bytes = read_text(blobs / image["config"]["digest"].get<std::string>().substr(7));
    Manifest manifest = decode_manifest(std::span(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()));
    change(manifest, image);
    const Bytes changed = encode(manifest);
    for (json& layer : image["layers"])
      if (layer.contains("annotations") && layer["annotations"]["quench.record"].get<std::string>().find(sha256("other").hex()) == std::string::npos)
        layer["annotations"]["quench.record"] = "run/" + sha256(changed).hex() + "/job";
    image["config"]["digest"] = "sha256:" + put_blob(std::string(changed.begin(), changed.end()));
    image["config"]["size"] = changed.size();
    index["manifests"][0]["digest"] = "sha256:" + put_blob(image.dump());
    index["manifests"][0]["size"] = image.dump().size();
    write_text(layout / "index.json", index.dump());
    const fs::path fresh = scratch_ / "fresh";
    fs::remove_all(fresh);
    const Finished finished = at(fresh, {"import", "--from", layout});
    EXPECT_TRUE(finished.exit_code == 1 || finished.exit_code == 2) << what << finished.out;
    EXPECT_THAT(finished.err, HasSubstr(reason)) << what;
    EXPECT_EQ(done_at(fresh, {"ls", "--json"}), "[]\n") << what;
  };
  expect_refused("a huge chunk", "the limit is 16777216", [](Manifest& manifest, json&) { manifest.tensors[0].chunks[0].bytes = 1ull << 40; });
  expect_refused("a chunk of another size", "came with the bytes", [](Manifest& manifest, json&) { --manifest.tensors[0].chunks[0].bytes; });
  expect_refused("a missing chunk", "came with the bytes", [](Manifest& manifest, json&) { manifest.tensors[0].chunks[0].digest = sha256("foreign"); });
  expect_refused("more chunks than bytes", "the layers end", [](Manifest& manifest, json&) {
    TensorRecord more = manifest.tensors.back();
    more.name = "more";
    more.chunks = {{sha256("more"), 7}};
    manifest.tensors.push_back(more);
  });
  expect_refused("more bytes than chunks", "hold more", [](Manifest& manifest, json&) { manifest.tensors.pop_back(); });
  expect_refused("a record of another artifact", "belongs to another artifact", [](Manifest&, json& image) {
    image["layers"].back()["annotations"]["quench.record"] = "run/" + sha256("other").hex() + "/x";
  });
  expect_refused("no config of ours", "expected application/vnd.quench", [](Manifest&, json& image) {
    image["config"]["mediaType"] = "application/vnd.oci.image.config.v1+json";
  });
}

TEST_F(RepositoryOfAJob, ABackupIsAStoreAndComesBack) {
  done({"backup", "--to", scratch_ / "copied"});
  done({"backup", "--to", scratch_ / "linked", "--link"});
  EXPECT_EQ(artifacts({"backup", "--to", scratch_ / "copied"}).exit_code, 2);
  const std::string names_before = done({"ls", "--json"});
  done({"rm", "small/int8"});
  done({"gc", "--grace", "0"});
  for (const char* backup : {"copied", "linked"}) {
    EXPECT_EQ(done_at(scratch_ / backup, {"ls", "--json"}), names_before) << backup;
    EXPECT_THAT(done_at(scratch_ / backup, {"verify"}), HasSubstr("everything has its digest")) << backup;
    const fs::path restored = scratch_ / (std::string("restored-") + backup);
    EXPECT_EQ(at(restored, {"restore", "--from", scratch_ / backup}).exit_code, 0) << backup;
    EXPECT_EQ(done_at(restored, {"ls", "--json"}), names_before);
    EXPECT_EQ(at(restored, {"restore", "--from", scratch_ / backup}).exit_code, 2) << "no store is overwritten";
  }
  EXPECT_EQ(at(scratch_ / "r", {"restore", "--from", scratch_ / "nothing"}).exit_code, 2);
  // A damaged backup is not restored.
  for (const fs::directory_entry& file : fs::directory_iterator(scratch_ / "copied" / "chunks"))
    if (file.path().extension() == ".blob") {
      std::string bytes = read_text(file.path());
      bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
      write_text(file.path(), bytes);
    }
  EXPECT_EQ(at(scratch_ / "r", {"restore", "--from", scratch_ / "copied"}).exit_code, 1);
  EXPECT_FALSE(fs::exists(scratch_ / "r"));
}

TEST_F(RepositoryOfAJob, DamageIsRepairedFromAnotherStore) {
  const fs::path good = *home_ / "store";
  std::size_t damaged = 0;
  for (const fs::directory_entry& file : fs::directory_iterator(store() / "chunks"))
    if (file.path().extension() == ".blob") {
      std::string bytes = read_text(file.path());
      for (std::size_t at = bytes.size() / 10; at < bytes.size(); at += bytes.size() / 5 + 1, ++damaged)
        bytes[at] = static_cast<char>(bytes[at] ^ 1);
      write_text(file.path(), bytes);
    }
  ASSERT_GE(damaged, 4u);
  EXPECT_EQ(artifacts({"verify"}).exit_code, 1);
  // A day's share finds its share; all shares together find all.
  int found = 0;
  for (int share = 0; share < 7; ++share) {
    const Finished part = artifacts({"verify", "--shares", "7", "--share", std::to_string(share), "--json"});
    found += json::parse(part.out)["corrupt"].get<int>();
  }
  EXPECT_EQ(found, json::parse(artifacts({"verify", "--json"}).out)["corrupt"].get<int>());
  const Finished repaired = artifacts({"repair", "--from", good});
  EXPECT_EQ(repaired.exit_code, 0) << repaired.out << repaired.err;
  EXPECT_THAT(done({"verify"}), HasSubstr("everything has its digest"));
  EXPECT_EQ(artifacts({"verify", "--shares", "7", "--share", "7"}).exit_code, 2);
}

TEST_F(RepositoryOfAJob, AnArtifactIsMadeAgainAndProvesItself) {
  for (const char* name : {kBest, "small/none"}) {
    const Finished same = artifacts({"verify", "--rederive", name, "--scratch", scratch_ / ""});
    EXPECT_EQ(same.exit_code, 0) << same.out << same.err;
    EXPECT_THAT(same.out, HasSubstr("the same"));
  }
  const Finished sample = artifacts({"verify", "--rederive", kBest, "--blocks", "2", "--seed", "5"});
  EXPECT_EQ(sample.exit_code, 0) << sample.out << sample.err;
  EXPECT_EQ(std::count(sample.out.begin(), sample.out.end(), '\n'), 3) << sample.out;
  // Another model is no proof of anything.
  write_divisible_model(scratch_ / "another");
  EXPECT_EQ(artifacts({"verify", "--rederive", kBest, "--model", scratch_ / "another"}).exit_code, 4);
  EXPECT_EQ(artifacts({"verify", "--rederive", kBest, "--model", scratch_ / "nowhere"}).exit_code, 4);
  done({"push", kBest, "--to", other()});
  const Finished unknown = at(other(), {"verify", "--rederive", kBest});
  EXPECT_EQ(unknown.exit_code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("was not made in this store"));
}

// A manifest with the right recipe, source and signature-worthy looks, and weights that the recipe does not give.
TEST_F(RepositoryOfAJob, AForgedArtifactIsFoundByMakingItAgain) {
  std::string forged;
  {
    ArtifactStore opened = ArtifactStore::open(store(), OpenMode::existing);
    const coordinator::StoredObject object = opened.get_object(opened.resolve(kBest));
    Manifest manifest = decode_manifest(object.bytes);
    TensorRecord* victim = nullptr;
    for (TensorRecord& tensor : manifest.tensors)
      if (tensor.layout == TensorLayout::packed && tensor.name.find("layers.3.") != std::string::npos) victim = &tensor;
    ASSERT_NE(victim, nullptr);
    Bytes chunk = opened.get_chunk(victim->chunks[0].digest);
    chunk[chunk.size() / 2] ^= 16;  // one code of one weight
    victim->chunks[0].digest = opened.put_chunk(chunk);
    const Bytes bytes = encode(manifest);
    std::vector<Digest> chunks;
    for (const ChunkRef& one : chunks_of(manifest)) chunks.push_back(one.digest);
    const std::string job = opened.list_jobs().at(0);
    opened.commit(coordinator::Commit()
                      .put_object(sha256(bytes), bytes, chunks)
                      .set_ref("small/forged", sha256(bytes), 1)
                      .append_journal(job, encode(JournalEvent(ArtifactPublished{3, sha256(bytes), 1.0}))));
    forged = sha256(bytes).hex();
  }
  EXPECT_EQ(artifacts({"verify"}).exit_code, 0) << "every byte has its digest";
  const Finished found = artifacts({"verify", "--rederive", "small/forged"});
  EXPECT_EQ(found.exit_code, 2) << found.out << found.err;
  EXPECT_THAT(found.out, HasSubstr("different"));
  EXPECT_THAT(found.out, HasSubstr("layers.3."));
  EXPECT_THAT(found.out, Not(HasSubstr("layers.2.")));
  // A sample of all blocks finds it too, and says where.
  const Finished sampled = artifacts({"verify", "--rederive", "small/forged", "--blocks", "5"});
  EXPECT_EQ(sampled.exit_code, 2) << sampled.out << sampled.err;
  EXPECT_THAT(sampled.out, HasSubstr("block 2 of 5: the same"));
  EXPECT_THAT(sampled.out, HasSubstr("block 3 of 5: different"));
}

}  // namespace
}  // namespace quench::testing
