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
  aqlm,  // sums of codebook entries, chosen against the calibration Hessian (2401.06118)
  awq,   // round to nearest after inputs are scaled by their activations, then clipped ranges (2306.00978)
};

// How a group's scale is found from its weights.
enum class ScaleRule : std::uint16_t {
  range,   // from the smallest and largest weight
  search,  // shrunken ranges are tried; the least squared error is kept
};

// aqlm: what is trained once the codes are found; codes stay as they are.
enum class FineTuning : std::uint16_t {
  none,
  block,       // each block against the original one, on the activations of the quantized prefix
  end_to_end,  // that, and then the whole model against the original one's logits
};

// int8: whether the inputs of the linears are rounded to 8 bits too, so that their products are of integers.
enum class Activations : std::uint16_t {
  none,     // weights alone
  dynamic,  // each token's largest value is 127 steps
  fixed,    // "static": the largest value of a linear's inputs on the calibration text is 127 steps; larger ones are cut
};

// What the matrix products of a model are of; sums are fp32 in both. Results depend on it, so it is part of recipes and of
// evaluations.
enum class Arithmetic : std::uint16_t {
  fp32,
  bf16,  // inputs rounded to bf16, and weights that are not codes (kernels/backend.h, Products); on the CPU only
};

inline constexpr std::int32_t kAdditiveGroupSize = 8;
inline constexpr std::uint32_t kCodebooksMax = 8;
inline constexpr std::uint32_t kCodebookBitsMax = 16;

struct QuantizeSpec {
  std::string name;  // of the artifact; empty: derived, "gptq-4bit-g128"
  Method method = Method::gptq;
  std::uint32_t bits = 4;         // 8, 4, 3 or 2 (awq not 2); aqlm: what its codes come to, rounded
  std::int32_t group_size = 128;  // inputs that share a scale; -1: a whole row; aqlm: inputs that share a code, 8 or 16
  bool symmetric = true;          // awq: never
  bool act_order = false;  // gptq: columns by falling diagonal of the Hessian
  ScaleRule scale_rule = ScaleRule::range;
  double damping = 0.01;  // gptq: share of the mean diagonal added to the diagonal
  // aqlm: a group is the sum of one entry of each codebook; codes take codebooks * codebook_bits bits a group.
  std::uint32_t codebooks = 2;
  std::uint32_t codebook_bits = 8;
  double tolerance = 0.01;  // a round whose relative gain is below it is the last
  std::uint64_t seed = 0;   // draws the sample that the codebooks start from
  FineTuning fine_tuning = FineTuning::none;
  std::uint32_t fine_tune_epochs = 10;
  std::uint32_t fine_tune_batch = 8;  // sequences
  double learning_rate = 1e-5;
  double end_to_end_learning_rate = 1e-5;
  std::uint32_t patience = 3;              // epochs without a better validation loss before it stops
  std::uint32_t validation_sequences = 0;  // 0: an eighth of the calibration sequences
  // gptq: what the whole artifact may take; each linear then has bits and a group size of its own, chosen for the
  // smallest predicted loss (worker/quantize/bit_choice.h). 0: `bits` and `group_size` hold for all.
  double budget_gib = 0;
  Activations activations = Activations::none;  // int8
  Arithmetic arithmetic = Arithmetic::fp32;     // gptq, awq: of forward passes on the calibration text, Hessians, gptq's feedback
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
  qwen_coder_instruct,
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
  Arithmetic arithmetic = Arithmetic::fp32;  // of the model's forward passes
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
std::string_view to_string(Activations activations);
std::string_view to_string(Arithmetic arithmetic);
std::string_view to_string(FineTuning tuning);
std::string_view to_string(PromptStyle form);
std::string_view to_string(CompletionCut cut);
std::string_view to_string(TokenBudget budget);
std::string_view to_string(ChatTemplate chat);
std::string_view to_string(SandboxKind sandbox);

// What an evaluation does, in words, every setting resolved: "multipl-e-humaneval java: 20 samples,
// temperature 0.2, ...".
std::string described(const EvaluateSpec& spec);

// Bits that the codes of an aqlm weight come to, rounded to the nearest whole number: 2x8 in groups of 8 has 2.
std::uint32_t additive_bits(const QuantizeSpec& spec);
// Whether the recipe's method reads calibration text.
bool needs_calibration(const QuantizeSpec& spec);

// `spec` with the settings its method leaves no choice in: int8 has 8 bits, whole rows and symmetric
// grids, awq asymmetric ones and its own search, only gptq has an order and a damping, only aqlm has codebooks, and `none` has bits 0. An aqlm group of 128,
// the default of the other methods, is one of 8. Equal work, equal recipe, equal digest.
QuantizeSpec with_fixed_settings(QuantizeSpec spec);

// "gptq-4bit-g128-sym", "int8", "int8-dynamic", "none": the name used when the job gives none.
std::string derived_name(const QuantizeSpec& spec);

// The artifacts of a job, in order: the baseline (method none) first when asked for, then each
// entry of `quantize`, every one with its name filled in and its fixed settings set. Throws Error(bad_input)
// on equal names.
std::vector<QuantizeSpec> artifact_recipes(const JobSpec& job);

}  // namespace quench
