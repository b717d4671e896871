#include "coordinator/plan/cost_model.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "schemas/codec.h"

namespace quench::coordinator {
namespace {

RateCurve flat(double value) { return {{{1, value}}}; }

// Every rate a round number of its own.
MachineProfile round_profile() {
  MachineProfile profile;
  profile.ranks = 2;
  profile.fp32.forward_flops = flat(1e9);
  profile.fp32.hessian_flops = flat(2e9);
  profile.fp32.hessian_sums = flat(1e8);
  profile.factor_flops = flat(5e8);
  profile.fp32.solve_flops = flat(4e8);
  profile.round_weights_per_s = 1e7;
  profile.read_bytes_per_s = 1e8;
  profile.make_bytes_per_s = 5e7;
  profile.layout_bytes_per_s = 2e8;
  profile.scratch_bytes_per_s = 1e7;
  profile.fp32.decode = {{16, flat(1e-9), flat(1e-10)}, {4, flat(5e-10), flat(1e-10)}};
  profile.message_s = 1e-3;
  profile.link_bytes_per_s = 1e8;
  profile.start_s = 0.5;
  profile.store_bytes_per_s = 1e8;
  profile.commit_s = 0.01;
  return profile;
}

JobSpec job_of(const std::string& quantize, std::uint32_t ranks) {
  JobSpec job = parse_job(
      R"({"model": "synthetic:deepseek-coder-1.3b,layers=3,hidden=128,intermediate=256,heads=4,kvHeads=2,vocabulary=1000",
          "calibration": {"sequences": 4, "length": 64}, "quantize": [)" + quantize + "]}",
      "job.json", "/");
  job.ranks = ranks;
  return job;
}

double step(const std::vector<StepTime>& steps, const std::string& name) {
  const auto found = std::find_if(steps.begin(), steps.end(), [&](const StepTime& one) { return one.step == name; });
  return found == steps.end() ? -1 : found->seconds;
}

bool mentions(const std::vector<std::string>& notes, const std::string& words) {
  return std::any_of(notes.begin(), notes.end(),
                     [&](const std::string& note) { return note.find(words) != std::string::npos; });
}

TEST(CostModel, DividesCountsByRates) {
  const JobSpec job = job_of(R"({"method": "gptq"})", 1);
  const Plan plan = plan_job(job);
  const Prediction prediction = predict(job, plan, round_profile(), {});
  ASSERT_EQ(prediction.artifacts.size(), 1u);
  const std::vector<StepTime>& steps = prediction.artifacts[0].steps;
  const double blocks = 3;
  EXPECT_NEAR(step(steps, "forward"), blocks * 79'757'312 / 1e9, 1e-9);
  EXPECT_NEAR(step(steps, "hessian"), blocks * (2.0 * 256 * (3 * 12'288 + 40'960) / 2e9 + 6.0 * (3 * 12'288 + 40'960) / 1e8), 1e-9);
  EXPECT_NEAR(step(steps, "factor"), blocks * (3 * 1'310'720 + 7'864'320) / 5e8, 1e-9);
  EXPECT_NEAR(step(steps, "solve"), blocks * 3.0 * ((256 + 128 + 512) * 128.0 * 128 + 128 * 256.0 * 256) / 4e8, 1e-9);
  EXPECT_NEAR(step(steps, "keep states"), (blocks - 1) * 256 * 128 * 4 / 1e7, 1e-9);
  // Weights are made, not read; embedding, norms and head as well.
  const double outer = static_cast<double>(plan.outer_bytes);
  EXPECT_NEAR(step(steps, "read"), blocks * 147'456 * 2 * (1 / 5e7 + 1 / 2e8) + outer / 5e7, 1e-9);
  EXPECT_EQ(step(steps, "communicate"), -1);
  double sum = 0;
  for (const StepTime& one : steps) sum += one.seconds;
  EXPECT_NEAR(prediction.seconds, sum + 0.5, 1e-9);
  EXPECT_NEAR(prediction.rank_hours, prediction.seconds / 3600, 1e-12);
}

// A bf16 job was once priced at the rates of fp32.
TEST(CostModel, PricesProductsOfBf16AtTheirOwnRates) {
  JobSpec job = job_of(R"({"method": "gptq"}, {"method": "gptq", "arithmetic": "bf16"})", 1);
  job.evaluate.resize(2);
  job.evaluate[1].arithmetic = Arithmetic::bf16;
  const EvaluationSize size{64, 0, 1000, 80, 25'600, 800};
  const Plan plan = plan_job(job);
  MachineProfile profile = round_profile();
  const Prediction unknown = predict(job, plan, profile, {size, size});
  EXPECT_TRUE(mentions(unknown.notes, "products of bf16 are priced as fp32's"));
  EXPECT_EQ(unknown.artifacts[0].seconds, unknown.artifacts[1].seconds);

  profile.bf16 = {flat(2e9), flat(6e9), flat(3e8), flat(2e9), {{4, flat(1e-10), flat(2e-11)}}};
  const Prediction known = predict(job, plan, profile, {size, size});
  EXPECT_FALSE(mentions(known.notes, "bf16"));
  const std::vector<StepTime>&plain = known.artifacts[0].steps, &brain = known.artifacts[1].steps;
  EXPECT_NEAR(step(plain, "forward"), 2 * step(brain, "forward"), 1e-9);
  EXPECT_NEAR(step(plain, "hessian"), 3 * step(brain, "hessian"), 1e-9);
  EXPECT_NEAR(step(plain, "solve"), 5 * step(brain, "solve"), 1e-9);
  for (const std::string same : {"factor", "read", "keep states", "store"}) EXPECT_EQ(step(plain, same), step(brain, same)) << same;
  // Each evaluation of each artifact, whose arithmetic is its own.
  ASSERT_EQ(known.evaluations.size(), 4u);
  const double stored = static_cast<double>(plan.artifacts[0].artifact_bytes) / 1e8;
  EXPECT_NEAR(known.evaluations[0].seconds_max - stored, 5 * (known.evaluations[2].seconds_max - stored), 1e-9);
}

TEST(CostModel, InventsNoEnergy) {
  const JobSpec job = job_of(R"({"method": "gptq"})", 2);
  MachineProfile profile = round_profile();
  const Prediction without = predict(job, plan_job(job), profile, {});
  EXPECT_FALSE(without.joules);
  EXPECT_NE(without.energy_note.find("not predicted"), std::string::npos);
  profile.watts = 200;
  const Prediction with = predict(job, plan_job(job), profile, {});
  ASSERT_TRUE(with.joules);
  EXPECT_NEAR(*with.joules, 200 * with.seconds, 1e-9);
}

TEST(CostModel, SaysWhatItHasNoRateFor) {
  const JobSpec job = job_of(R"({"method": "gptq"})", 4);
  MachineProfile profile = round_profile();
  const Prediction unknown = predict(job, plan_job(job), profile, {});
  EXPECT_EQ(unknown.hosts, 2u);
  EXPECT_TRUE(mentions(unknown.notes, "between 2 hosts is not predicted"));
  EXPECT_EQ(step(unknown.artifacts[0].steps, "communicate"), -1);

  profile.between_hosts_message_s = 1e-3;
  profile.between_hosts_bytes_per_s = 1e8;
  const Prediction known = predict(job, plan_job(job), profile, {});
  EXPECT_FALSE(mentions(known.notes, "between"));
  EXPECT_GT(step(known.artifacts[0].steps, "communicate"), 0);

  profile.store_bytes_per_s.reset();
  EXPECT_TRUE(mentions(predict(job, plan_job(job), profile, {}).notes, "storing is not predicted"));
}

TEST(CostModel, PredictsEvaluationsFromStepsAndTokens) {
  const JobSpec synthetic = job_of(R"({"method": "gptq", "bits": 4})", 2);
  const Plan plan = plan_job(synthetic);
  JobSpec job = synthetic;
  job.evaluate.emplace_back();
  // 64 completions are two leases, one for each rank.
  EvaluationSize size{64, 0, 1000, 80, 25'600, 800};
  MachineProfile profile = round_profile();
  profile.store_bytes_per_s.reset();
  profile.programs_per_s = 8;
  const Prediction prediction = predict(job, plan, profile, {size});
  ASSERT_EQ(prediction.evaluations.size(), 1u);
  const double weights = 3 * 147'456 + 1000 * 128;
  const EvaluationPrediction& one = prediction.evaluations[0];
  EXPECT_NEAR(one.seconds.value(), 32 / 8.0 + weights / 2 * (80 * 5e-10 + 1000 * 1e-10), 1e-9);
  EXPECT_NEAR(one.seconds_max, 32 / 8.0 + weights / 2 * (800 * 5e-10 + 25'600 * 1e-10), 1e-9);

  size.answer_tokens.reset();
  size.steps.reset();
  const Prediction unknown = predict(job, plan, profile, {size});
  EXPECT_FALSE(unknown.evaluations[0].seconds);
  EXPECT_TRUE(mentions(unknown.notes, "without solutions"));
}

TEST(CostModel, PublishedFiguresAreMarked) {
  const JobSpec job = job_of(R"({"method": "gptq"})", 8);
  const Prediction prediction = predict(job, plan_job(job), published_profile("h100-sxm"), {});
  EXPECT_TRUE(mentions(prediction.notes, "none was measured"));
  ASSERT_TRUE(prediction.joules);
  EXPECT_NEAR(*prediction.joules, 8 * 700 * prediction.seconds, 1e-6);
}

}  // namespace
}  // namespace quench::coordinator
