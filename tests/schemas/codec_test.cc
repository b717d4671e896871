#include "schemas/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schemas/error.h"
#include "schemas/service_fields.h"
#include "schemas/service_json.h"
#include "tests/schemas/random_values.h"

namespace quench {
namespace {

Manifest random_manifest(std::uint64_t seed) {
  auto manifest = RandomFiller(seed).make<Manifest>();
  manifest.format_version = 1;
  manifest.recipe.name.clear();
  return manifest;
}

// A member that value_fields.h forgets would be lost on its way without any other test noticing.
template <typename T>
void expect_all_members_listed(const char* name) {
  FieldCounter counter;
  const T value{};
  fields(counter, value);
  EXPECT_EQ(counter.count, member_count<T>()) << name;
}

template <typename... Alternatives>
void expect_all_alternatives_listed(const std::variant<Alternatives...>&) {
  (expect_all_members_listed<Alternatives>(kAlternativeName<Alternatives>), ...);
}

TEST(ValueFields, ListEveryMember) {
  expect_all_alternatives_listed(Message{});
  expect_all_alternatives_listed(JournalEvent{});
  expect_all_members_listed<QuantizeSpec>("QuantizeSpec");
  expect_all_members_listed<CalibrationSpec>("CalibrationSpec");
  expect_all_members_listed<EvaluateSpec>("EvaluateSpec");
  expect_all_members_listed<JobSpec>("JobSpec");
  expect_all_members_listed<ChunkRef>("ChunkRef");
  expect_all_members_listed<TensorRecord>("TensorRecord");
  expect_all_members_listed<FileRecord>("FileRecord");
  expect_all_members_listed<LinearLoss>("LinearLoss");
  expect_all_members_listed<Manifest>("Manifest");
  expect_all_members_listed<RunRecord>("RunRecord");
  expect_all_members_listed<BitChoice>("BitChoice");
  expect_all_members_listed<LeftOut>("LeftOut");
  expect_all_members_listed<CalibrationRecord>("CalibrationRecord");
  expect_all_members_listed<EnergyReading>("EnergyReading");
  expect_all_members_listed<PhaseUsage>("PhaseUsage");
  expect_all_members_listed<Verdict>("Verdict");
  expect_all_members_listed<EvaluationKey>("EvaluationKey");
  expect_all_members_listed<RankId>("RankId");
  expect_all_members_listed<LeaseItem>("LeaseItem");
  expect_all_members_listed<MadeText>("MadeText");
#define EXPECT_MEMBERS(Type) expect_all_members_listed<Type>(#Type);
  QUENCH_SERVICE_TYPES(EXPECT_MEMBERS)
#undef EXPECT_MEMBERS
  expect_all_members_listed<LocalUser>("LocalUser");
  expect_all_members_listed<JobProgress>("JobProgress");
  expect_all_members_listed<BlockView>("BlockView");
  expect_all_members_listed<ArtifactProgressView>("ArtifactProgressView");
  expect_all_members_listed<EvaluationProgressView>("EvaluationProgressView");
  expect_all_members_listed<WorkerView>("WorkerView");
  expect_all_members_listed<AuditEntry>("AuditEntry");
}

class MessageRoundTrip : public testing::TestWithParam<std::size_t> {};

TEST_P(MessageRoundTrip, GivesEqualValueAndEqualBytes) {
  EXPECT_EQ(decode_message(encode(RandomFiller(0).make_alternative<Message>(GetParam()))).index(),
            GetParam());
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const Message message = RandomFiller(seed).make_alternative<Message>(GetParam());
    const Bytes bytes = encode(message);
    const Message decoded = decode_message(bytes);
    ASSERT_EQ(decoded, message) << "seed " << seed;
    ASSERT_EQ(encode(decoded), bytes) << "seed " << seed;
  }
}

INSTANTIATE_TEST_SUITE_P(All, MessageRoundTrip, testing::Range(std::size_t{0}, std::variant_size_v<Message>));

TEST(Codec, JournalEventsComeBack) {
  for (std::size_t index = 0; index < std::variant_size_v<JournalEvent>; ++index) {
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
      const JournalEvent event = RandomFiller(seed).make_alternative<JournalEvent>(index);
      ASSERT_EQ(decode_journal_event(encode(event)), event) << "alternative " << index << ", seed " << seed;
    }
  }
}

TEST(Codec, StoredValuesComeBack) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const Manifest manifest = random_manifest(seed);
    ASSERT_EQ(decode_manifest(encode(manifest)), manifest) << "seed " << seed;
    const auto record = RandomFiller(seed).make<RunRecord>();
    ASSERT_EQ(decode_run_record(encode(record)), record) << "seed " << seed;
    const auto usage = RandomFiller(seed).make<PhaseUsage>();
    ASSERT_EQ(decode_phase_usage(encode(usage)), usage) << "seed " << seed;
    const auto verdict = RandomFiller(seed).make<Verdict>();
    ASSERT_EQ(decode_verdict(encode(verdict)), verdict) << "seed " << seed;
  }
}

TEST(Codec, DefaultValuesComeBack) {
  EXPECT_EQ(decode_manifest(encode(Manifest{})), Manifest{});
  EXPECT_EQ(decode_run_record(encode(RunRecord{})), RunRecord{});
  EXPECT_EQ(decode_phase_usage(encode(PhaseUsage{})), PhaseUsage{});
  EXPECT_EQ(decode_verdict(encode(Verdict{})), Verdict{});
  EXPECT_EQ(decode_message(encode(Message{LeaseGrant{}})), Message{LeaseGrant{}});
}

// A list of elements that take no bytes is still a list of that many elements.
TEST(Codec, ListOfDefaultElementsKeepsItsLength) {
  LeaseGrant grant;
  grant.items.resize(1000);
  EXPECT_EQ(decode_message(encode(Message{grant})), Message{grant});
}

TEST(Codec, DecodesFromUnalignedBytes) {
  const Message message = RandomFiller(3).make_alternative<Message>(1);
  const Bytes bytes = encode(message);
  Bytes shifted(bytes.size() + 1);
  std::copy(bytes.begin(), bytes.end(), shifted.begin() + 1);
  EXPECT_EQ(decode_message(std::span(shifted).subspan(1)), message);
}

// The digest names the artifact on every machine and in every later version: these bytes may not change.
TEST(ManifestDigest, IsPinned) {
  Manifest manifest;
  manifest.source = sha256("source");
  manifest.calibration = sha256("calibration");
  manifest.recipe.bits = 3;
  manifest.files = {{"config.json", {sha256("file"), 4}}};
  TensorRecord tensor;
  tensor.name = "model.layers.0.mlp.down_proj.weight";
  tensor.layout = TensorLayout::packed;
  tensor.dtype = DType::f16;
  tensor.shape = {64, 172};
  tensor.bits = 3;
  tensor.group_size = 128;
  tensor.rows_per_tile = 16;
  tensor.chunks = {{sha256("a"), 1000}, {sha256("b"), 1000}};
  manifest.tensors = {tensor};
  manifest.losses = {{tensor.name, 0.5, 0.25}};
  EXPECT_EQ(manifest_digest(manifest), sha256(encode(manifest)));
  EXPECT_EQ(manifest_digest(manifest).hex(),
            "0768070df7be5493adf1bd7a1e5a6753b066496907a352922532005511696089");
}

TEST(ManifestDigest, IgnoresTheNameAndNothingElse) {
  const Manifest manifest = random_manifest(7);
  Manifest named = manifest;
  named.recipe.name = "my-favourite";
  EXPECT_EQ(manifest_digest(named), manifest_digest(manifest));
  Manifest other = manifest;
  other.recipe.damping += 0.5;
  EXPECT_NE(manifest_digest(other), manifest_digest(manifest));
  other = manifest;
  other.losses.push_back({});
  EXPECT_NE(manifest_digest(other), manifest_digest(manifest));
  other = manifest;
  other.tensors.emplace_back().permutation.bytes = 4;
  EXPECT_NE(manifest_digest(other), manifest_digest(manifest));
}

TEST(ManifestDigest, NewerFormatIsRefusedByName) {
  Manifest manifest;
  manifest.format_version = 2;
  try {
    decode_manifest(encode(manifest));
    FAIL() << "accepted a manifest of format 2";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::corrupt);
    EXPECT_THAT(error.what(), testing::HasSubstr("format version 2"));
    EXPECT_THAT(error.what(), testing::HasSubstr("reads version 1"));
  }
}

TEST(JobId, CoversEverythingButRanksAndThreads) {
  auto job = RandomFiller(11).make<JobSpec>();
  const Digest source = sha256("model");
  const Digest id = job_id(job, source);
  JobSpec other = job;
  other.ranks += 1;
  other.threads += 3;
  EXPECT_EQ(job_id(other, source), id);
  EXPECT_NE(job_id(job, sha256("other model")), id);
  other = job;
  other.calibration.seed += 1;
  EXPECT_NE(job_id(other, source), id);
  other = job;
  other.quantize.emplace_back();
  EXPECT_NE(job_id(other, source), id);
}

TEST(EvaluationDigest, CoversSettingsButNotHowMuchIsAsked) {
  auto key = RandomFiller(5).make<EvaluationKey>();
  EvaluationKey more = key;
  more.spec.samples += 1;
  more.spec.tasks += 1;
  more.spec.sandbox =
      more.spec.sandbox == SandboxKind::landlock ? SandboxKind::namespaces : SandboxKind::landlock;
  EXPECT_EQ(evaluation_digest(more), evaluation_digest(key));
  EvaluationKey other = key;
  other.spec.seed += 1;
  EXPECT_NE(evaluation_digest(other), evaluation_digest(key));
  other = key;
  other.spec.timeout_seconds += 1;
  EXPECT_NE(evaluation_digest(other), evaluation_digest(key));
  other = key;
  other.artifact = sha256("another");
  EXPECT_NE(evaluation_digest(other), evaluation_digest(key));
}

// Verdicts of earlier versions lie under this digest: settings added since may not move them.
TEST(EvaluationDigest, OfDefaultSettingsIsAsBefore) {
  EvaluationKey key;
  key.artifact = sha256("artifact");
  key.benchmark = sha256("benchmark");
  key.spec.temperature = 0.2;
  key.spec.top_p = 0.95;
  key.spec.max_tokens = 1024;
  key.spec.seed = 7;
  EXPECT_EQ(evaluation_digest(key).hex(), "7b9288462537c7db2c82dde8f4e65c0d5f83c4d6de968fd038feda30498b1aac");
}

TEST(ManifestJson, HasSnakeKeysAndHexDigests) {
  Manifest manifest;
  manifest.source = sha256("source");
  manifest.tensors = {
      {.name = "w", .layout = TensorLayout::packed, .shape = {2, 3}, .bits = 4, .rows_per_tile = 16}};
  const std::string json = manifest_to_json(manifest);
  EXPECT_THAT(json, testing::HasSubstr("\"format_version\": 1"));
  EXPECT_THAT(json, testing::HasSubstr("\"source\": \"" + sha256("source").hex() + "\""));
  EXPECT_THAT(json, testing::HasSubstr("\"calibration\": null"));
  EXPECT_THAT(json, testing::HasSubstr("\"rows_per_tile\": 16"));
  EXPECT_THAT(json, testing::HasSubstr("\"layout\": \"packed\""));
  EXPECT_THAT(json, testing::HasSubstr("\"method\": \"gptq\""));
}

}  // namespace
}  // namespace quench
