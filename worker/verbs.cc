#include "worker/verbs.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cluster/net/endpoint.h"
#include "schemas/codec.h"
#include "schemas/error.h"
#include "worker/artifact_loader.h"
#include "worker/build.h"
#include "worker/evaluate/answers.h"
#include "worker/evaluate/grade_file.h"
#include "worker/generate/batch_decoder.h"
#include "worker/generate/perplexity.h"
#include "worker/model/arithmetic.h"

namespace quench::worker {
namespace {

using nlohmann::ordered_json;

constexpr std::uint32_t kDefaultContext = 2048;

std::unique_ptr<kernels::Backend> backend_for(const ComputeOptions& compute) {
  std::unique_ptr<kernels::Backend> backend = make_backend(compute.threads, compute.backend);
  set_arithmetic(*backend, compute.arithmetic);
  return backend;
}

// The link lives only while the model is loaded.
LoadedModel open_model(kernels::Backend& backend, const ModelChoice& choice) {
  if (!choice.directory.empty()) return load_directory(backend, choice.directory);
  ServiceOptions options;
  options.coordinator = cluster::Endpoint::parse(choice.coordinator);
  options.hello = describe_self(std::string(backend.name()), PeerRole::reader);
  Service service(options, nullptr);
  return load_artifact(backend, service, choice.ref, {});
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) throw Error(ErrorCode::bad_input, "cannot read " + path.string());
  return std::move(text).str();
}

}  // namespace

int generate(const ComputeOptions& compute, const GenerateArguments& arguments) {
  const auto backend = backend_for(compute);
  LoadedModel model = open_model(*backend, arguments.model);
  const auto token_bytes = [&](std::int32_t token) {
    return model.tokenizer->is_special(token) ? std::string() : model.tokenizer->token_bytes(token);
  };
  BatchDecoder decoder(*model.transformer, token_bytes);
  GenerationRequest request;
  request.prompt = model.tokenizer->encode(arguments.prompt, AddSpecialTokens::yes);
  if (request.prompt.empty())
    throw Error(ErrorCode::bad_input,
                "the prompt is empty and this tokenizer begins texts with no token: give a prompt");
  request.max_new_tokens = arguments.max_tokens;
  request.sampling = {arguments.temperature, arguments.top_k, arguments.top_p};
  check_settings(request.sampling);
  request.key = {arguments.seed, 0, 0};
  request.eos_ids = model.transformer->config().eos_ids;
  if (const auto eos = model.tokenizer->eos_id()) request.eos_ids.push_back(*eos);
  decoder.add(std::move(request));
  const Completion completion = decoder.run().at(0);
  if (completion.reason == FinishReason::context_full && completion.tokens.empty())
    throw Error(ErrorCode::bad_input, "the prompt fills the model's " +
                                          std::to_string(model.transformer->positions_max()) +
                                          " positions (max_position_embeddings): give a shorter one");
  const std::string text = model.tokenizer->decode_continuation(completion.tokens);
  if (arguments.json)
    std::cout << ordered_json{{"prompt", arguments.prompt},
                              {"completion", text},
                              {"tokens", completion.tokens},
                              {"finish_reason", to_string(completion.reason)}}
                     .dump(2, ' ', false, ordered_json::error_handler_t::replace)
              << "\n";
  else
    std::cout << text << "\n";
  return 0;
}

int perplexity(const ComputeOptions& compute, const PerplexityArguments& arguments) {
  const auto backend = backend_for(compute);
  LoadedModel model = open_model(*backend, arguments.model);
  const std::vector<TokenId> tokens =
      model.tokenizer->encode(read_text(arguments.text), AddSpecialTokens::no);
  const std::int64_t window =
      arguments.context > 0 ? arguments.context
                            : std::min<std::int64_t>(kDefaultContext, model.transformer->positions_max());
  const Perplexity result = in_context(arguments.text.string(), [&] {
    return measure_perplexity(*model.transformer, tokens, window, [](std::size_t done, std::size_t windows) {
      if (done % 16 == 0 || done == windows) std::fprintf(stderr, "window %zu of %zu\n", done, windows);
    });
  });
  if (arguments.json)
    std::cout << ordered_json{{"perplexity", result.perplexity},
                              {"nll", result.nll},
                              {"tokens", result.tokens}}
                     .dump(2)
              << "\n";
  else
    std::printf("perplexity %.4f  (nll %.6f over %llu tokens, windows of %lld)\n", result.perplexity,
                result.nll, static_cast<unsigned long long>(result.tokens), static_cast<long long>(window));
  return 0;
}

int grade(const ComputeOptions& compute, const GradeArguments& arguments) {
  const Benchmark benchmark = benchmark_from_string(arguments.benchmark);
  const Language language = language_from_string(arguments.language);
  GraderOptions options = options_for(benchmark, language);
  options.sandboxes = compute.threads;
  std::optional<EvaluateSpec> settings;
  if (!arguments.settings.empty()) {
    settings = read_job(arguments.settings).evaluate.at(0);
    options = grader_options(*settings, compute.threads);
  }
  if (arguments.allow_landlock) options.weakest = Confinement::landlock;
  const GradeFileReport report = grade_file(
      benchmark, language, arguments.problems, arguments.completions, arguments.out, options,
      [](std::size_t done, std::size_t total) {
        if (done % 50 == 0 || done == total) std::fprintf(stderr, "graded %zu of %zu\n", done, total);
      },
      settings ? &*settings : nullptr);
  if (!report.missing_tasks.empty())
    std::fprintf(stderr, "%zu of %zu tasks have no line in %s, the first is %s\n", report.missing_tasks.size(),
                 report.tasks, arguments.completions.c_str(), report.missing_tasks.front().c_str());
  if (arguments.json)
    std::cout << ordered_json{{"lines", report.lines},
                              {"passed", report.passed},
                              {"tasks", report.tasks},
                              {"missing_tasks", report.missing_tasks},
                              {"problems", report.problems.hex()},
                              {"confined_by", report.confined_by},
                              {"seconds", report.seconds}}
                     .dump(2)
              << "\n";
  else
    std::printf("%zu of %zu passed (%.1f s), verdicts in %s\n", report.passed, report.lines, report.seconds,
                arguments.out.c_str());
  return 0;
}

}  // namespace quench::worker
