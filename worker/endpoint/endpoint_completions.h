// Completions from a model that someone else serves: an OpenAI-compatible endpoint.
#pragma once

#include <memory>
#include <string>

#include "schemas/job_spec.h"
#include "worker/endpoint/completions_api.h"
#include "worker/endpoint/retry.h"
#include "worker/evaluate/completion_source.h"

namespace quench::worker {

struct EndpointOptions {
  EndpointUrl url;
  EndpointApi api = EndpointApi::completions;
  std::string model_name;
  std::string api_key;            // empty: none is sent
  std::uint32_t concurrency = 8;  // requests under way at once
  HttpLimits limits;
  RetryPolicy retries;
};

// The key in the environment variable `name`, or in QUENCH_ENDPOINT_KEY when no name is given; empty when that is
// not set. Throws Error(bad_input) when a named one is not set, or holds what no HTTP header can.
std::string endpoint_key(const std::string& name);

// The text to ask with, and the strings that end an answer.
using MakeQuery = std::function<EndpointQuery(const LeaseItem& item)>;

// `make_query` gives each item's prompt and stop strings; model, sampling and seed are filled in here. The
// seed of a request follows from that of `spec`, task and sample.
std::unique_ptr<CompletionSource> make_endpoint_completions(const EvaluateSpec& spec, EndpointOptions options,
                                                            MakeQuery make_query);

}  // namespace quench::worker
