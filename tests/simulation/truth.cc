#include "tests/simulation/truth.h"

namespace quench::simulation {

JobSpec job_of(const Shape& shape) {
  JobSpec job;
  job.name = "job";
  job.model = "/models/m";
  job.calibration.files = {"/text"};
  for (std::uint32_t recipe = 0; recipe < shape.recipes; ++recipe) {
    QuantizeSpec& spec = job.quantize.emplace_back();
    spec.method = Method::gptq;
    spec.bits = 2 + recipe;
  }
  for (std::uint32_t evaluation = 0; evaluation < shape.evaluations; ++evaluation) {
    EvaluateSpec& spec = job.evaluate.emplace_back();
    spec.samples = shape.samples;
    spec.seed = evaluation;
  }
  return job;
}

Bytes chunk_of(const std::string& tensor) {
  const Digest digest = sha256(tensor);
  return Bytes(digest.bytes.begin(), digest.bytes.begin() + 16);
}

std::vector<TensorRecord> tensors_of(const Shape& shape, std::uint32_t artifact, std::uint32_t block) {
  std::vector<TensorRecord> tensors;
  for (std::uint32_t tensor = 0; tensor < shape.tensors; ++tensor) {
    TensorRecord& record = tensors.emplace_back();
    record.name = std::to_string(artifact) + "." + std::to_string(block) + "." + std::to_string(tensor);
    record.dtype = DType::f32;
    record.shape = {4};
    record.chunks = {{sha256(chunk_of(record.name)), 16}};
  }
  return tensors;
}

Digest benchmark_of(std::uint32_t evaluation) { return sha256("problems " + std::to_string(evaluation)); }

std::vector<std::string> tasks_of(const Shape& shape) {
  std::vector<std::string> tasks;
  for (std::uint32_t task = 0; task < shape.tasks; ++task) tasks.push_back("T/" + std::to_string(task));
  return tasks;
}

Verdict verdict_of(const Digest& artifact, std::uint32_t evaluation, const LeaseItem& item) {
  const std::string place =
      artifact.short_hex() + " " + std::to_string(evaluation) + " " + std::to_string(item.task) + " " + std::to_string(item.sample);
  const Digest drawn = sha256(place);
  Verdict verdict;
  verdict.task = item.task;
  verdict.sample = item.sample;
  verdict.result = drawn.bytes[0] % 2 == 0 ? VerdictResult::passed : VerdictResult::failed;
  verdict.completion = drawn.short_hex();
  verdict.tokens = drawn.bytes[1];
  return verdict;
}

}  // namespace quench::simulation
