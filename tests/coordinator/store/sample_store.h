// What the sample stores of tests/fixtures/stores hold: one of each format that Quench ever wrote. They are read by
// every later build, so nothing here may change; what a newer format can hold beside it has a function of its own.
#pragma once

#include <string>
#include <vector>

#include "schemas/codec.h"
#include "tests/coordinator/store/store_fixture.h"

namespace quench::coordinator {

inline Bytes sample_chunk(std::uint64_t number) { return seeded_bytes(1000 + number, 100 + 150 * number); }

// A real manifest, so that an old store also shows whether old manifests are still understood.
inline Manifest sample_manifest() {
  Manifest manifest;
  manifest.source = sha256("sample model");
  manifest.calibration = sha256("sample windows");
  manifest.recipe.method = Method::gptq;
  manifest.recipe.bits = 4;
  manifest.recipe.group_size = 32;
  const auto chunk = [](std::uint64_t number) {
    return ChunkRef{sha256(sample_chunk(number)), sample_chunk(number).size()};
  };
  manifest.files = {{"config.json", chunk(0)}};
  TensorRecord tensor;
  tensor.name = "model.embed_tokens.weight";
  tensor.dtype = DType::u8;
  tensor.shape = {1, sample_chunk(1).size()};
  tensor.chunks = {chunk(1)};
  manifest.tensors = {tensor};
  manifest.losses = {{"model.layers.0.self_attn.q_proj.weight", 0.25, 0.001}};
  return manifest;
}

inline constexpr std::uint64_t kSampleTimeMs = 1'764'000'000'000;

inline void write_sample(ArtifactStore& store) {
  for (std::uint64_t number = 0; number < 4; ++number) store.put_chunk(sample_chunk(number));
  const Bytes manifest = encode(sample_manifest()), other = text_bytes("an object of two chunks");
  const std::vector<Digest> of_manifest = {sha256(sample_chunk(0)), sha256(sample_chunk(1))};
  const std::vector<Digest> of_other = {sha256(sample_chunk(2)), sha256(sample_chunk(3))};
  store.commit(Commit()
                   .put_object(sha256(manifest), manifest, of_manifest)
                   .set_ref("sample/model:v1", sha256(manifest), kSampleTimeMs)
                   .append_journal("job-a", text_bytes("accepted"))
                   .append_journal("job-a", text_bytes("block 0"), of_manifest)
                   .put_result("run/1", text_bytes("fast")));
  store.commit(Commit()
                   .put_object(sha256(other), other, of_other)
                   .set_ref("sample/other", sha256(other), kSampleTimeMs + 1)
                   .set_ref("sample/gone", sha256(other), kSampleTimeMs + 1));
  store.commit(Commit()
                   .set_ref("sample/other", sha256(manifest), kSampleTimeMs + 2)
                   .delete_ref("sample/gone", kSampleTimeMs + 2)
                   .append_journal("job-a", text_bytes("finished"))
                   .put_result("verdict/1", text_bytes("passed")));
}

// What format 2 added: an object whose chunks were collected, a job whose chunks were released, a policy.
inline void write_sample_2(ArtifactStore& store) {
  const Bytes collected = text_bytes("a collected object");
  const Digest chunk = store.put_chunk(seeded_bytes(2000, 700)), of_job = store.put_chunk(seeded_bytes(2001, 300));
  store.commit(Commit()
                   .put_object(sha256(collected), collected, std::vector{chunk})
                   .append_journal("job-b", text_bytes("block"), std::vector{of_job}));
  CollectOptions options;
  options.now_ms = kSampleTimeMs + 3;
  options.judge = judged_by([](std::string_view job, const std::vector<JournalEvent>&) {
    return JobOpinion{job == "job-b" ? JobOpinion::Fate::release : JobOpinion::Fate::keep, {}};
  });
  Commit policy;
  put_quota(policy, 5'000'000);
  put_retention(policy, {{"sample/nightly-*", 3, 30}});
  store.commit(policy);
  store.collect(options);
}

inline void expect_sample_2(const ArtifactStore& store) {
  const StoredObject object = store.get_object(sha256("a collected object"));
  EXPECT_EQ(object.collected_ms, kSampleTimeMs + 3);
  EXPECT_FALSE(store.has_chunk(object.chunks.at(0)));
  EXPECT_EQ(store.read_journal("job-b").size(), 1u);
  EXPECT_FALSE(store.has_chunk(sha256(seeded_bytes(2001, 300))));
  EXPECT_EQ(store.policy().quota_bytes, 5'000'000u);
  EXPECT_EQ(store.policy().retention, (std::vector<RetentionRule>{{"sample/nightly-*", 3, 30}}));
}

// Everything write_sample() was told is in the store, and intact.
inline void expect_sample(const ArtifactStore& store) {
  for (std::uint64_t number = 0; number < 4; ++number)
    EXPECT_EQ(store.get_chunk(sha256(sample_chunk(number))), sample_chunk(number));
  const Digest manifest = store.resolve("sample/model:v1");
  EXPECT_EQ(manifest, manifest_digest(sample_manifest()));
  EXPECT_EQ(decode_manifest(store.get_object(manifest).bytes), sample_manifest());
  const std::vector<Ref> history = store.ref_history("sample/other");
  ASSERT_EQ(history.size(), 2u);
  EXPECT_EQ(history[0].object, sha256("an object of two chunks"));
  EXPECT_EQ(history[1].object, manifest);
  EXPECT_EQ(history[1].time_ms, kSampleTimeMs + 2);
  EXPECT_FALSE(store.find_ref("sample/gone"));
  EXPECT_EQ(store.get_object(history[0].object).chunks.size(), 2u);
  const std::vector<JournalEvent> events = store.read_journal("job-a");
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[1].bytes, text_bytes("block 0"));
  EXPECT_EQ(events[1].chunks.size(), 2u);
  EXPECT_EQ(store.get_result("run/1"), text_bytes("fast"));
  EXPECT_EQ(store.get_result("verdict/1"), text_bytes("passed"));
  const VerifyReport report = store.verify();
  EXPECT_EQ(report.exit_status(), 0) << ::testing::PrintToString(report.findings);
}

}  // namespace quench::coordinator
