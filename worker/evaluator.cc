#include "worker/evaluator.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <utility>

#include "schemas/endpoint_url.h"
#include "schemas/error.h"
#include "worker/artifact_loader.h"
#include "worker/endpoint/endpoint_completions.h"
#include "worker/evaluate/answers.h"
#include "worker/evaluate/evaluation.h"
#include "worker/evaluate/prompts.h"
#include "worker/memory_use.h"
#include "worker/model/arithmetic.h"
#include "worker/phase_usage.h"

namespace quench::worker {
namespace {

std::unique_ptr<CompletionSource> ask_endpoint(const JobSpec& job, const EvaluateSpec& spec,
                                               const ProblemSet& problems) {
  EndpointOptions options;
  options.url = parse_endpoint_url(job.model);
  // The server lays its own template around a question.
  options.api = spec.chat == ChatTemplate::none ? EndpointApi::completions : EndpointApi::chat;
  options.model_name = job.model_name;
  options.api_key = endpoint_key(job.api_key_variable);
  options.concurrency = job.concurrency;
  options.limits.timeout = std::chrono::seconds(job.request_seconds);
  options.retries.tries_max = job.request_tries;
  return make_endpoint_completions(spec, std::move(options), [spec, &problems](const LeaseItem& item) {
    EndpointQuery query;
    Question question = question_for(spec, problems, problems.problems().at(item.task));
    query.prompt = std::move(question.text);
    query.max_tokens = spec.max_tokens;
    query.stop = std::move(question.stop_strings);
    return query;
  });
}

}  // namespace

Evaluator::Evaluator(kernels::Backend& backend, Service& service, EvaluatorOptions options)
    : backend_(backend), service_(service), options_(std::move(options)) {}

void Evaluator::run() {
  energy_.measure_idle();
  for (;;) {
    const Message order = service_.next_order();
    if (std::holds_alternative<ExitOrder>(order)) return;
    if (const auto* evaluate_order = std::get_if<EvaluateOrder>(&order)) {
      measure_phase(energy_, service_, {0, evaluate_order->evaluation, evaluate_order->artifact, {}},
                    [&](PhaseUsage& usage) { evaluate(*evaluate_order, usage); });
    } else {
      throw Error(ErrorCode::bad_input, "the coordinator gave an evaluation worker an order for ranks");
    }
  }
}

LoadedModel& Evaluator::model(const EvaluateOrder& order) {
  if (model_ && loaded_ == order.artifact) return *model_;
  model_.reset();  // before the next one needs the memory
  const std::filesystem::path cache_dir =
      options_.local ? std::filesystem::path(order.cache_dir) : options_.cache_dir;
  const std::uint64_t before = resident_bytes();
  model_ = load_artifact(backend_, service_, order.artifact.hex(), cache_dir);
  load_growth_bytes_ = std::max(before, resident_bytes()) - before;
  loaded_ = order.artifact;
  return *model_;
}

void Evaluator::evaluate(const EvaluateOrder& order, PhaseUsage& usage) {
  const EvaluateSpec& spec = order.job.evaluate.at(order.evaluation);
  const ArithmeticScope arithmetic(backend_, spec.arithmetic);
  if (spec.arithmetic == Arithmetic::bf16) std::fprintf(stderr, "products of bf16 by %s\n", std::string(backend_.bf16_products()).c_str());
  if (!grader_ || graded_ != spec) {
    grader_.reset();
    grader_ = std::make_unique<Grader>(grader_options(spec, backend_.thread_count()));
    graded_ = spec;
  }
  const OpenCompletions open = [&](const ProblemSet& problems) {
    return is_endpoint(order.job.model) ? ask_endpoint(order.job, spec, problems)
                                        : make_model_completions(spec, problems, model(order));
  };
  const EvaluationTimes times = run_evaluation(spec, order.number, open, *grader_, service_);
  if (model_ && loaded_ == order.artifact) {
    usage.weight_bytes = model_->transformer->weight_bytes();
    usage.load_growth_bytes = load_growth_bytes_;
  }
  // Into the job's log, by way of whoever reads this process's stderr.
  if (times.completions > 0)
    std::fprintf(stderr, "%s %s: %u completions, %.2f s generating, %.2f s executing, %.2f s together\n",
                 order.artifact.short_hex().c_str(), spec.benchmark.c_str(), times.completions,
                 times.generating_seconds, times.executing_seconds, times.seconds);
}

}  // namespace quench::worker
