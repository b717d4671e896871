// What a user asks for: job.json as value types (DESIGN.md section 7). Parsing and writing are in
// codec.h; every default here is the documented default of the job file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quench {

enum class Method : std::uint16_t {
  none,  // the baseline: the model's own weights
  int8,  // 8 bits, symmetric, one scale per output channel (Wei et al., FSE 2023)
  rtn,   // round to nearest on a grid per group
  gptq,  // error feedback from the calibration Hessian (2210.17323)
};

// How a group's scale is found from its weights.
enum class ScaleRule : std::uint16_t {
  range,   // from the smallest and largest weight
  search,  // shrunken ranges are tried; the least squared error is kept
};

struct QuantizeSpec {
  std::string name;  // of the artifact; empty: derived, "gptq-4bit-g128"
  Method method = Method::gptq;
  std::uint32_t bits = 4;         // 8, 4, 3 or 2
  std::int32_t group_size = 128;  // inputs that share a scale; -1: a whole row
  bool symmetric = true;
  bool act_order = false;  // gptq: columns by falling diagonal of the Hessian
  ScaleRule scale_rule = ScaleRule::range;
  double damping = 0.01;  // gptq: share of the mean diagonal added to the diagonal
  // gptq: what the whole artifact may take; each linear then has bits and a group size of its own, chosen for the
  // smallest predicted loss (worker/quantize/bit_choice.h). 0: `bits` and `group_size` hold for all.
  double budget_gib = 0;
  bool operator==(const QuantizeSpec&) const = default;
};

// What calibration windows are cut from; all but `files` are recipes of sets in the store
// (worker/calibration/README.md says what each takes).
enum class CalibrationKind : std::uint16_t {
  files,   // plain text that the job names
  random,  // web text
  code,    // half Python, half Java
  mixed,   // half questions of StackExchange, half code
};

// Windows of tokens: cut from plain text when the job runs, or those of a set that `quench calibration build`
// made. A set is named by `set`, or is the one in the store that fits kind, sequences, length and seed.
struct CalibrationSpec {
  std::vector<std::string> files;  // UTF-8 text
  std::uint32_t sequences = 128;   // of a named set: its first so many; 0 until resolved: all
  std::uint32_t length = 512;      // tokens per sequence; of a named set: their first so many; 0 until resolved: all
  std::uint64_t seed = 0;          // chooses the windows
  CalibrationKind kind = CalibrationKind::files;
  std::string set;  // name or digest; the whole digest once the job is accepted
  bool is_set() const { return !set.empty() || kind != CalibrationKind::files; }
  bool operator==(const CalibrationSpec&) const = default;
};

// The text a task is asked with; what each means for a benchmark is in worker/evaluate/prompts.h.
enum class PromptStyle : std::uint16_t {
  native,      // the benchmark's own
  stripped,    // the same without white space at its ends
  three_shot,  // MBPP: three solved tasks before the task
  evalplus,    // EvalPlus's
};

// Where a completion ends.
enum class CompletionCut : std::uint16_t {
  stop_strings,    // before the benchmark's first stop string
  first_function,  // the same, and after the first complete function
};

// What max_tokens counts.
enum class TokenBudget : std::uint16_t { new_tokens, including_prompt };

// How an instruct model is spoken to.
enum class ChatTemplate : std::uint16_t {
  none,       // not at all: plain completion
  automatic,  // as the model's tokenizer_config.json says
  codellama_instruct,
  deepseek_coder_instruct,
};

enum class SandboxKind : std::uint16_t {
  namespaces,  // nothing less
  landlock,    // allowed where the host forbids namespaces
};

struct EvaluateSpec {
  std::string benchmark = "humaneval";
  std::string language = "python";
  std::uint32_t samples = 1;  // completions per task
  double temperature = 0.0;   // 0: greedy
  double top_p = 1.0;
  std::uint32_t top_k = 0;         // 0: off
  std::uint32_t max_tokens = 512;  // per completion, counted as token_budget says
  std::uint64_t seed = 0;
  std::uint32_t tasks = 0;  // only the first so many tasks; 0: all
  PromptStyle prompt_form = PromptStyle::native;
  CompletionCut cut = CompletionCut::stop_strings;
  TokenBudget token_budget = TokenBudget::new_tokens;
  ChatTemplate chat = ChatTemplate::none;
  std::uint32_t timeout_seconds = 0;  // of CPU time, per program; 0: the benchmark's own
  SandboxKind sandbox = SandboxKind::namespaces;
  bool operator==(const EvaluateSpec&) const = default;
};

struct JobSpec {
  std::string name;
  std::string model;     // a Hugging Face directory, absolute after parsing; or an endpoint's URL
  bool baseline = true;  // also keep and evaluate the unquantized weights
  std::vector<QuantizeSpec> quantize;
  CalibrationSpec calibration;
  std::vector<EvaluateSpec> evaluate;
  std::uint32_t ranks = 1;
  std::uint32_t threads = 0;  // per rank; 0: the machine's cores divided by its ranks
  std::string protocol;  // a named set of choices (protocols.h), already filled in after parsing; or empty
  // When `model` is an endpoint (endpoint_url.h):
  std::string model_name;                // what the endpoint calls the model; empty: it has only one
  std::string api_key_variable;          // that holds the key; empty: QUENCH_ENDPOINT_KEY, where it is set
  std::uint32_t concurrency = 8;         // requests under way at once, for each evaluation worker
  std::uint32_t request_seconds = 600;   // for one request, from connecting to the last byte
  std::uint32_t request_tries = 8;       // of one request, before the job stops
  bool operator==(const JobSpec&) const = default;
};

std::string_view to_string(Method method);
std::string_view to_string(ScaleRule rule);
std::string_view to_string(CalibrationKind kind);
std::string_view to_string(PromptStyle form);
std::string_view to_string(CompletionCut cut);
std::string_view to_string(TokenBudget budget);
std::string_view to_string(ChatTemplate chat);
std::string_view to_string(SandboxKind sandbox);

// What an evaluation does, in words, every setting resolved: "multipl-e-humaneval java: 20 samples,
// temperature 0.2, ...".
std::string described(const EvaluateSpec& spec);

// `spec` with the settings its method leaves no choice in: int8 has 8 bits, whole rows and symmetric
// grids, only gptq has an order and a damping, and `none` has bits 0. Equal work, equal recipe, equal digest.
QuantizeSpec with_fixed_settings(QuantizeSpec spec);

// "gptq-4bit-g128-sym", "int8", "none": the name used when the job gives none.
std::string derived_name(const QuantizeSpec& spec);

// The artifacts of a job, in order: the baseline (method none) first when asked for, then each
// entry of `quantize`, every one with its name filled in and its fixed settings set. Throws Error(bad_input)
// on equal names.
std::vector<QuantizeSpec> artifact_recipes(const JobSpec& job);

}  // namespace quench
