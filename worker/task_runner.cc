#include "worker/task_runner.h"

#include "schemas/error.h"
#include "schemas/synthetic_model.h"
#include "worker/calibration/load_set.h"
#include "worker/evaluate/answers.h"
#include "worker/evaluate/chat_templates.h"
#include "worker/phase_usage.h"
#include "worker/quantize/methods.h"
#include "worker/quantize/quantizer.h"
#include "worker/random_model.h"

namespace quench::worker {

namespace {

std::unique_ptr<WeightSource> open_source(const std::string& model) {
  if (!is_synthetic(model)) return open_model_directory(model);
  const SyntheticModel synthetic = parse_synthetic_model(model);
  return make_random_model(synthetic.config, 0, -1, synthetic.seed);
}

void check_length(const CalibrationSpec& calibration, const ModelConfig& config) {
  if (calibration.length > config.max_positions)
    throw Error(ErrorCode::bad_input,
                "calibration sequences of " + std::to_string(calibration.length) + " tokens do not fit the model's " +
                    std::to_string(config.max_positions) +
                    " positions (max_position_embeddings): make calibration.length smaller");
}

}  // namespace

TaskRunner::TaskRunner(kernels::Backend& backend, cluster::Collective& gang, Service& service)
    : backend_(backend), gang_(gang), service_(service) {}

void TaskRunner::run() {
  energy_.measure_idle();
  for (;;) {
    const Message order = service_.next_order();
    if (std::holds_alternative<ExitOrder>(order)) return;
    if (const auto* quantize_order = std::get_if<QuantizeOrder>(&order))
      measure_phase(energy_, service_, {quantize_order->artifact, kNoEvaluation, {}, {}},
                    [&](PhaseUsage&) { quantize(*quantize_order); });
  }
}

CalibrationSet TaskRunner::fetch_calibration(const CalibrationSpec& spec, const Tokenizer& tokenizer) {
  const ManifestReply reply = service_.fetch_manifest(spec.set);
  return load_set(reply.manifest, spec, tokenizer,
                  [this](const ChunkRef& chunk) { return service_.fetch_chunk(chunk.digest); });
}

void TaskRunner::prepare(const JobSpec& job, const WeightSource& source) {
  if (prepared_) return;
  bool calibrated = false;
  for (const QuantizeSpec& recipe : artifact_recipes(job))
    calibrated = calibrated || needs_calibration(recipe);
  if (calibrated) check_length(job.calibration, source.config());
  if (calibrated && is_synthetic(job.model)) {
    calibration_ = random_calibration(job.calibration, source.config().vocab_size);
  } else if (calibrated || !job.evaluate.empty()) {
    const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(job.model);
    tokenizer->check_fits(source.config().vocab_size);
    if (calibrated)
      calibration_ = job.calibration.is_set() ? fetch_calibration(job.calibration, *tokenizer)
                                              : build_calibration(job.calibration, *tokenizer);
  }
  // Refused before days of quantizing, not after: a chat without a template, started and ended here a machine
  // without a sandbox.
  for (const EvaluateSpec& spec : job.evaluate)
    in_context(job.model, [&] { resolved_chat(spec.chat, read_chat_template(job.model)); });
  for (const EvaluateSpec& spec : job.evaluate) Grader probe(grader_options(spec, 1));
  prepared_ = true;
}

void TaskRunner::quantize(const QuantizeOrder& order) {
  const std::unique_ptr<WeightSource> source = open_source(order.job.model);
  prepare(order.job, *source);
  in_context(artifact_recipes(order.job).at(order.artifact).name, [&] {
    const ChunkReader read_chunk = [this](const ChunkRef& chunk) {
      return service_.fetch_chunk(chunk.digest);
    };
    quantize_artifact({backend_, gang_, *source, service_, {}, &priced_}, order, calibration_.value_or(CalibrationSet{}),
                      read_chunk);
  });
}

}  // namespace quench::worker
