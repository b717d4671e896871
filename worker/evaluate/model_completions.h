// Completions from packed weights on this machine. Compute thread only.
#pragma once

#include <memory>
#include <string>

#include "schemas/job_spec.h"
#include "worker/evaluate/completion_source.h"
#include "worker/evaluate/problems.h"
#include "worker/model/transformer.h"
#include "worker/tokenize/tokenizer.h"

namespace quench::worker {

// A model ready to generate.
struct LoadedModel {
  std::unique_ptr<Transformer> transformer;
  std::unique_ptr<Tokenizer> tokenizer;
  std::string chat_template;  // of its tokenizer_config.json; empty: it has none
};

// `problems` and `model` must outlive it.
std::unique_ptr<CompletionSource> make_model_completions(const EvaluateSpec& spec, const ProblemSet& problems,
                                                         LoadedModel& model);

}  // namespace quench::worker
