@0xeaf90e39b53bf8c0;
# What a user asks for. One schema serves the job file (its keys are the field names of this file), the
# orders to ranks, the journal and the recipe inside an artifact's manifest.
#
# The defaults here are the documented defaults of the job file; job_spec.h repeats them for values made
# in the program, and a test holds the two equal. Field numbers are stored for ever: new fields get the
# next number, fields no longer used keep theirs. Enumerants are stored by number and never reordered.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("quench::schema");

enum Method {
  none @0;  # the baseline: the model's own weights
  int8 @1;
  rtn @2;
  gptq @3;
  aqlm @4;
  awq @5;
}

enum ScaleRule {
  range @0;
  search @1;
}

enum FineTuning {
  none @0;
  block @1;     # each block against the original one, on the quantized prefix
  endToEnd @2;  # that, and then the whole model against the original one's logits
}

enum Activations {
  none @0;     # weights alone
  dynamic @1;  # each token's largest value is 127 steps
  static @2;   # the largest value of the calibration text is
}

# What the matrix products of a model are of; sums are fp32 in both.
enum Arithmetic {
  fp32 @0;
  bf16 @1;  # inputs rounded to bf16; on the CPU only
}

struct QuantizeSpec {
  name @0 :Text;
  method @1 :Method = gptq;
  bits @2 :UInt32 = 4;
  groupSize @3 :Int32 = 128;  # -1: a whole row
  symmetric @4 :Bool = true;
  actOrder @5 :Bool = false;
  scaleRule @6 :ScaleRule = range;
  damping @7 :Float64 = 0.01;
  # aqlm only
  codebooks @8 :UInt32 = 2;
  codebookBits @9 :UInt32 = 8;
  tolerance @10 :Float64 = 0.01;  # a round that gains less ends the search
  seed @11 :UInt64 = 0;
  fineTuning @12 :FineTuning = none;
  fineTuneEpochs @13 :UInt32 = 10;
  fineTuneBatch @14 :UInt32 = 8;
  learningRate @15 :Float64 = 1e-5;
  patience @16 :UInt32 = 3;
  validationSequences @17 :UInt32 = 0;  # 0: an eighth of the calibration sequences
  budgetGiB @18 :Float64 = 0;  # gptq: bits and group size of each linear follow from it; 0: they are given
  activations @19 :Activations = none;  # int8 only: what the linears' inputs are rounded to
  endToEndLearningRate @20 :Float64 = 1e-5;  # aqlm only
  arithmetic @21 :Arithmetic = fp32;  # gptq only: of the forward passes on the calibration text and of the Hessians
}

# What calibration windows are cut from.
enum CalibrationKind {
  files @0;   # the text of `files`
  random @1;  # a set of the store: web text
  code @2;    # half Python, half Java
  mixed @3;   # half questions of StackExchange, half code
}

struct CalibrationSpec {
  files @0 :List(Text);
  sequences @1 :UInt32 = 128;
  length @2 :UInt32 = 512;
  seed @3 :UInt64 = 0;
  kind @4 :CalibrationKind = files;
  set @5 :Text;  # a set of the store, by name or digest
}

# The text a task is asked with; what each means for a benchmark is in worker/evaluate/prompts.h.
enum PromptForm {
  native @0;     # the benchmark's own
  stripped @1;   # the same without white space at its ends
  threeShot @2;  # MBPP: three solved tasks before the task
  evalplus @3;   # EvalPlus's
}

# Where a completion ends.
enum CompletionCut {
  stopStrings @0;    # before the benchmark's first stop string
  firstFunction @1;  # the same, and after the first complete function
}

# What maxTokens counts.
enum TokenBudget {
  newTokens @0;
  includingPrompt @1;
}

enum ChatTemplate {
  none @0;  # plain completion
  auto @1;  # as the model's tokenizer_config.json says
  codellamaInstruct @2;
  deepseekCoderInstruct @3;
  qwenCoderInstruct @4;
}

enum SandboxKind {
  namespaces @0;  # nothing less
  landlock @1;    # allowed where the host forbids namespaces
}

struct EvaluateSpec {
  benchmark @0 :Text = "humaneval";
  language @1 :Text = "python";
  samples @2 :UInt32 = 1;
  temperature @3 :Float64 = 0;  # 0: greedy
  topP @4 :Float64 = 1;
  topK @5 :UInt32 = 0;  # 0: off
  maxTokens @6 :UInt32 = 512;
  seed @7 :UInt64 = 0;
  tasks @8 :UInt32 = 0;  # 0: all
  promptForm @9 :PromptForm = native;
  cut @10 :CompletionCut = stopStrings;
  tokenBudget @11 :TokenBudget = newTokens;
  chat @12 :ChatTemplate = none;
  timeoutSeconds @13 :UInt32 = 0;  # of CPU time, per program; 0: the benchmark's own
  sandbox @14 :SandboxKind = namespaces;
  arithmetic @15 :Arithmetic = fp32;  # of the model's forward passes
}

struct JobSpec {
  name @0 :Text;
  model @1 :Text;
  baseline @2 :Bool = true;
  quantize @3 :List(QuantizeSpec);
  calibration @4 :CalibrationSpec;
  evaluate @5 :List(EvaluateSpec);
  ranks @6 :UInt32 = 1;
  threads @7 :UInt32 = 0;  # per rank; 0: the machine's cores divided by its ranks
  protocol @8 :Text;  # a named set of choices, protocols.h; what it fixes is filled in
  # When `model` is the URL of an OpenAI-compatible endpoint ("http://host:8000/v1"):
  modelName @9 :Text;  # what the endpoint calls the model; empty: it has only one
  apiKeyVariable @10 :Text;  # environment variable that holds the key; empty: QUENCH_ENDPOINT_KEY, where it is set
  concurrency @11 :UInt32 = 8;  # requests under way at once, for each evaluation worker
  requestSeconds @12 :UInt32 = 600;  # for one request, from connecting to the last byte
  requestTries @13 :UInt32 = 8;  # of one request, with growing pauses, before the job stops
}
