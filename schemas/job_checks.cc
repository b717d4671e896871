#include "schemas/job_checks.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <set>
#include <type_traits>
#include <utility>

#include "schemas/benchmarks.h"
#include "schemas/endpoint_url.h"
#include "schemas/error.h"
#include "schemas/nearest_name.h"
#include "schemas/protocols.h"
#include "schemas/synthetic_model.h"
#include "schemas/value_fields.h"

namespace quench {
namespace {

constexpr std::size_t kNameBytesMax = 128;
constexpr std::size_t kPathBytesMax = 4096;
constexpr std::size_t kArtifactsMax = 256;
constexpr std::size_t kEvaluationsMax = 64;
constexpr std::uint32_t kRanksMax = 4096;
constexpr std::uint32_t kThreadsMax = 4096;
constexpr std::int32_t kGroupSizeMax = 65536;
constexpr std::int32_t kBudgetGiBMax = 65536;
// 65,536 sequences of 131,072 tokens are 2^33; exact sums keep 62 bits for tokens × squares (DESIGN.md 3).
constexpr std::uint32_t kSequencesMax = 65536;
constexpr std::uint32_t kLengthMax = 131072;
constexpr std::uint32_t kSamplesMax = 10000;
constexpr std::uint32_t kMaxTokensMax = 131072;
constexpr double kTemperatureMax = 10;
constexpr std::uint32_t kTimeoutSecondsMax = 3600;
constexpr std::uint32_t kConcurrencyMax = 256;
constexpr std::uint32_t kRequestSecondsMax = 86'400;
constexpr std::uint32_t kRequestTriesMax = 100;
constexpr std::uint32_t kEpochsMax = 1000;

// Each field's name and its value as a job file has it.
struct FieldTexts {
  std::map<std::string, std::string> texts;
  template <typename T>
  void operator()(const char* name, const T& value) {
    if constexpr (std::is_same_v<T, std::string>) {
      texts[name] = '"' + value + '"';
    } else if constexpr (std::is_enum_v<T>) {
      texts[name] = '"' + std::string(to_string(value)) + '"';
    } else if constexpr (std::is_floating_point_v<T>) {
      char text[32];
      std::snprintf(text, sizeof text, "%g", value);
      texts[name] = text;
    } else {
      texts[name] = std::to_string(value);
    }
  }
};

std::map<std::string, std::string> field_texts(const EvaluateSpec& spec) {
  FieldTexts archive;
  fields(archive, spec);
  return archive.texts;
}

bool is_ref_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '/' || c == '-';
}

// Why `name` cannot be a ref; empty when it can. Refs become directory names on export.
std::string name_fault(const std::string& name) {
  if (name.empty()) return "a name may not be empty; leave the key out for a derived name";
  if (name.size() > kNameBytesMax) return "longer than " + std::to_string(kNameBytesMax) + " characters";
  if (!std::all_of(name.begin(), name.end(), is_ref_character))
    return "a name may hold letters A-Z and a-z, digits, and . _ / - only";
  for (const std::filesystem::path& part : std::filesystem::path(name + "/."))
    if (part == ".." || part == "/") return "a name may not begin with / or hold the part ..";
  if (name.find("//") != std::string::npos || name.back() == '/' || name.starts_with("./") || name == "." ||
      name.find("/./") != std::string::npos)
    return "a name may not hold empty parts or the part .";
  return {};
}

class JobCheck {
 public:
  JobCheck(const JobSpec& job, const JsonPlaces& places, std::vector<JsonMistake>& mistakes)
      : job_(job), places_(places), mistakes_(mistakes) {}

  void run() {
    if (given("/name")) check_name("/name", job_.name);
    if (is_endpoint(job_.model)) {
      check_endpoint();
    } else if (is_synthetic(job_.model)) {
      check_synthetic();
      check_no_endpoint();
    } else {
      check_path("/model", job_.model, "the path of a Hugging Face model directory, an endpoint's URL, or synthetic:SHAPE");
      check_no_endpoint();
    }
    check_range("/ranks", job_.ranks, 1u, kRanksMax);
    check_range("/threads", job_.threads, 0u, kThreadsMax);
    if (job_.quantize.size() > kArtifactsMax)
      add("/quantize", "more than " + std::to_string(kArtifactsMax) + " artifacts");
    if (!job_.baseline && job_.quantize.empty())
      add("/quantize", "the job makes no artifact: name a method, or set \"baseline\" to true");
    for (std::size_t i = 0; i < job_.quantize.size(); ++i)
      check_recipe(pointer_to("/quantize", i), job_.quantize[i]);
    check_equal_names();
    check_calibration();
    if (job_.evaluate.size() > kEvaluationsMax)
      add("/evaluate", "more than " + std::to_string(kEvaluationsMax) + " evaluations");
    for (std::size_t i = 0; i < job_.evaluate.size(); ++i)
      check_evaluation(pointer_to("/evaluate", i), job_.evaluate[i]);
    check_protocol();
  }

 private:
  bool given(const std::string& pointer) const { return places_.contains(pointer); }

  // True when the key, or something it lies in, was found wrong before.
  bool is_mistaken(const std::string& pointer) const {
    return std::any_of(mistakes_.begin(), mistakes_.end(), [&](const JsonMistake& mistake) {
      return pointer == mistake.pointer || pointer.starts_with(mistake.pointer + "/");
    });
  }

  // The place of the key, or of the nearest thing around it that the file holds.
  JsonPlace place_of(std::string pointer) const {
    while (true) {
      if (const auto found = places_.find(pointer); found != places_.end()) return found->second;
      if (pointer.empty()) return {};
      pointer.erase(pointer.rfind('/'));
    }
  }

  void add(const std::string& pointer, const std::string& text) {
    if (!is_mistaken(pointer)) mistakes_.push_back({pointer, place_of(pointer), text});
  }

  void check_name(const std::string& pointer, const std::string& name) {
    if (const std::string fault = name_fault(name); !fault.empty()) add(pointer, fault);
  }

  void check_path(const std::string& pointer, const std::string& path, const std::string& what) {
    if (path.empty()) add(pointer, (given(pointer) ? "empty; expected " : "missing; expected ") + what);
    if (path.size() > kPathBytesMax) add(pointer, "longer than " + std::to_string(kPathBytesMax) + " bytes");
  }

  // As with a method's fixed settings, such a key may only say what is so anyway.
  void check_no_endpoint() {
    const JobSpec defaults;
    const auto check = [&](const char* key, bool is_default) {
      if (!is_default) add(key, "only a job whose \"model\" is an endpoint's URL (http://…) has this key");
    };
    check("/modelName", job_.model_name.empty());
    check("/apiKeyVariable", job_.api_key_variable.empty());
    check("/concurrency", job_.concurrency == defaults.concurrency);
    check("/requestSeconds", job_.request_seconds == defaults.request_seconds);
    check("/requestTries", job_.request_tries == defaults.request_tries);
  }

  void check_endpoint() {
    try {
      parse_endpoint_url(job_.model);
    } catch (const Error& error) {
      add("/model", error.what());
    }
    const std::string elsewhere = "an endpoint's weights are not here, so they cannot be quantized: leave the key out";
    if (!job_.quantize.empty()) add("/quantize", elsewhere);
    if (!job_.calibration.files.empty()) add("/calibration/files", elsewhere);
    if (job_.calibration.is_set()) add(given("/calibration/set") ? "/calibration/set" : "/calibration/kind", elsewhere);
    if (!job_.baseline) add("/baseline", "the endpoint's model is the baseline: leave the key out");
    if (job_.evaluate.empty() && job_.protocol.empty())
      add("/evaluate", "missing; an endpoint can only be evaluated");
    for (std::size_t i = 0; i < job_.evaluate.size(); ++i)
      if (job_.evaluate[i].arithmetic != Arithmetic::fp32)
        add(pointer_to("/evaluate", i) + "/arithmetic", "an endpoint computes as it does: leave the key out");
    if (job_.model_name.size() > kPathBytesMax)
      add("/modelName", "longer than " + std::to_string(kPathBytesMax) + " bytes");
    const std::string& variable = job_.api_key_variable;
    // The value is not repeated: it may be a key that was put here by mistake.
    if (!variable.empty() && (std::isdigit(static_cast<unsigned char>(variable[0])) ||
                              !std::all_of(variable.begin(), variable.end(), [](unsigned char c) {
                                return std::isalnum(c) || c == '_';
                              })))
      add("/apiKeyVariable",
          "expected the name of an environment variable (letters, digits, _), never the key itself");
    check_range("/concurrency", job_.concurrency, 1u, kConcurrencyMax);
    check_range("/requestSeconds", job_.request_seconds, 1u, kRequestSecondsMax);
    check_range("/requestTries", job_.request_tries, 1u, kRequestTriesMax);
  }

  void check_synthetic() {
    try {
      parse_synthetic_model(job_.model);
    } catch (const Error& error) {
      add("/model", error.what());
    }
    const std::string reason = "a synthetic model has no tokenizer: ";
    if (!job_.calibration.files.empty())
      add("/calibration/files", reason + "its calibration is random tokens of \"seed\"; leave the key out");
    if (!job_.evaluate.empty()) add("/evaluate", reason + "there is nothing to evaluate; leave the key out");
    if (given("/protocol")) add("/protocol", reason + "there is nothing to evaluate; leave the key out");
    if (job_.quantize.empty() && !given("/baseline"))
      add("/quantize", "the job makes no artifact: name a method, or set \"baseline\" to true");
  }

  template <typename T>
  void check_range(const std::string& pointer, T value, T low, T high) {
    if (value < low || value > high)
      add(pointer, "found " + std::to_string(value) + "; expected " + std::to_string(low) + " to " +
                       std::to_string(high));
  }

  void check_recipe(const std::string& pointer, const QuantizeSpec& spec) {
    if (given(pointer + "/name")) check_name(pointer + "/name", spec.name);
    if (is_mistaken(pointer + "/method")) return;  // what the other keys should be is not known
    check_fixed_settings(pointer, spec);
    if (spec.method == Method::none || spec.method == Method::int8) return;
    if (spec.method == Method::aqlm) return check_codebooks(pointer, spec);
    if (!(spec.damping > 0 && spec.damping <= 1))
      add(pointer + "/damping", "expected a number above 0 and up to 1");
    if (spec.budget_gib != 0) return check_budget(pointer, spec);
    if (spec.method == Method::awq && spec.bits != 8 && spec.bits != 4 && spec.bits != 3)
      add(pointer + "/bits", "found " + std::to_string(spec.bits) + "; expected 8, 4 or 3 of awq");
    else if (spec.bits != 8 && spec.bits != 4 && spec.bits != 3 && spec.bits != 2)
      add(pointer + "/bits", "found " + std::to_string(spec.bits) + "; expected 8, 4, 3 or 2");
    if (spec.group_size != -1 && (spec.group_size < 1 || spec.group_size > kGroupSizeMax))
      add(pointer + "/groupSize", "found " + std::to_string(spec.group_size) +
                                      "; expected -1 (a whole row) or 1 to " + std::to_string(kGroupSizeMax));
  }

  void check_budget(const std::string& pointer, const QuantizeSpec& spec) {
    if (!(spec.budget_gib > 0 && spec.budget_gib <= kBudgetGiBMax))
      add(pointer + "/budgetGiB", "expected a number above 0 and up to " + std::to_string(kBudgetGiBMax));
    const std::string chosen = "chosen for each linear by \"budgetGiB\": leave one of the two keys out";
    const QuantizeSpec fixed = with_fixed_settings(spec);
    if (given(pointer + "/bits") && spec.bits != fixed.bits) add(pointer + "/bits", chosen);
    if (given(pointer + "/groupSize") && spec.group_size != fixed.group_size) add(pointer + "/groupSize", chosen);
  }

  void check_codebooks(const std::string& pointer, const QuantizeSpec& spec) {
    check_range(pointer + "/codebooks", spec.codebooks, 1u, kCodebooksMax);
    check_range(pointer + "/codebookBits", spec.codebook_bits, 1u, kCodebookBitsMax);
    if (given(pointer + "/groupSize") && spec.group_size != 8 && spec.group_size != 16)
      add(pointer + "/groupSize", "found " + std::to_string(spec.group_size) + "; expected 8 or 16 inputs for a code of aqlm");
    if (!(spec.tolerance > 0 && spec.tolerance < 1))
      add(pointer + "/tolerance", "expected a number between 0 and 1: the relative gain below which a round is the last");
    if (spec.fine_tuning == FineTuning::none) return;
    check_range(pointer + "/fineTuneEpochs", spec.fine_tune_epochs, 1u, kEpochsMax);
    check_range(pointer + "/fineTuneBatch", spec.fine_tune_batch, 1u, kSequencesMax);
    check_range(pointer + "/patience", spec.patience, 1u, kEpochsMax);
    for (const auto& [key, rate] : {std::pair{"/learningRate", spec.learning_rate}, {"/endToEndLearningRate", spec.end_to_end_learning_rate}})
      if (!(rate > 0 && rate <= 1)) add(pointer + key, "expected a number above 0 and up to 1");
    const std::uint32_t sequences = job_.calibration.sequences;
    if (sequences < 2 || spec.validation_sequences >= sequences)
      add(pointer + "/validationSequences", "found " + std::to_string(spec.validation_sequences) + " of " +
                                                std::to_string(sequences) +
                                                " calibration sequences; expected fewer, so that some are left to train on");
  }

  // A key that the method does not have may only say what is so anyway.
  void check_fixed_settings(const std::string& pointer, const QuantizeSpec& spec) {
    const QuantizeSpec fixed = with_fixed_settings(spec);
    const std::string method(to_string(spec.method));
    const auto check = [&](const char* key, bool is_free, const std::string& remedy) {
      if (!is_free && given(pointer + key)) add(pointer + key, "the method " + method + " " + remedy);
    };
    check("/bits", fixed.bits == spec.bits || spec.budget_gib > 0,
          spec.method == Method::int8   ? "has 8 bits: leave the key out"
          : spec.method == Method::aqlm ? "has the bits of its codes (codebooks * codebookBits / groupSize): leave the key out"
                                        : "has no bits: leave the key out");
    check("/groupSize", fixed.group_size == spec.group_size || spec.method == Method::aqlm || spec.budget_gib > 0,
          "has no groups: leave the key out, or say -1 (a whole row)");
    check("/symmetric", fixed.symmetric == spec.symmetric,
          spec.method == Method::awq ? "has asymmetric grids only: leave the key out, or say false"
                                     : "has no asymmetric grid: leave the key out");
    check("/scaleRule", fixed.scale_rule == spec.scale_rule,
          spec.method == Method::awq ? "searches for clipped ranges anyway: leave the key out"
                                     : "has no search for scales: leave the key out");
    check("/actOrder", fixed.act_order == spec.act_order,
          "has no order of columns: only gptq has; leave it out");
    check("/damping", fixed.damping == spec.damping, "has no damping: only gptq has; leave the key out");
    check("/activations", fixed.activations == spec.activations,
          "leaves activations as they are: only int8 rounds them; leave the key out");
    check("/arithmetic", fixed.arithmetic == spec.arithmetic,
          "quantizes in fp32: only gptq and awq have another arithmetic; leave the key out (an evaluation has one of its own)");
    const std::string only_aqlm = "has no such key: only aqlm has; leave it out";
    check("/codebooks", fixed.codebooks == spec.codebooks, only_aqlm);
    check("/codebookBits", fixed.codebook_bits == spec.codebook_bits, only_aqlm);
    check("/tolerance", fixed.tolerance == spec.tolerance, only_aqlm);
    check("/seed", fixed.seed == spec.seed, only_aqlm);
    check("/fineTuning", fixed.fine_tuning == spec.fine_tuning, only_aqlm);
    const std::string untuned = "does not fine-tune here: set \"fineTuning\" to \"block\" or \"endToEnd\", or leave the key out";
    check("/fineTuneEpochs", fixed.fine_tune_epochs == spec.fine_tune_epochs, untuned);
    check("/fineTuneBatch", fixed.fine_tune_batch == spec.fine_tune_batch, untuned);
    check("/learningRate", fixed.learning_rate == spec.learning_rate, untuned);
    check("/patience", fixed.patience == spec.patience, untuned);
    check("/validationSequences", fixed.validation_sequences == spec.validation_sequences, untuned);
    check("/endToEndLearningRate", fixed.end_to_end_learning_rate == spec.end_to_end_learning_rate,
          "does not fine-tune end to end here: set \"fineTuning\" to \"endToEnd\", or leave the key out");
    check("/budgetGiB", fixed.budget_gib == spec.budget_gib, "chooses no bits: only gptq does; leave the key out");
  }

  void check_equal_names() {
    if (std::any_of(mistakes_.begin(), mistakes_.end(),
                    [](const JsonMistake& mistake) { return mistake.pointer.starts_with("/quantize"); }))
      return;  // a name may follow from a key that is wrong
    std::set<std::string> names;
    if (job_.baseline) names.insert("none");
    for (std::size_t i = 0; i < job_.quantize.size(); ++i) {
      const QuantizeSpec spec = with_fixed_settings(job_.quantize[i]);
      const std::string name = spec.name.empty() ? derived_name(spec) : spec.name;
      const std::string pointer = pointer_to("/quantize", i);
      if (!names.insert(name).second)
        add(spec.name.empty() ? pointer : pointer + "/name",
            "another artifact of this job is named \"" + name + "\"" +
                (name == "none" && job_.baseline ? " (the baseline)" : "") +
                "; give this one another \"name\"");
    }
  }

  void check_calibration() {
    const CalibrationSpec& calibration = job_.calibration;
    bool needed = false;
    for (std::size_t i = 0; i < job_.quantize.size(); ++i)
      needed |=
          needs_calibration(job_.quantize[i]) && !is_mistaken(pointer_to("/quantize", i) + "/method");
    if (needed && calibration.files.empty() && !calibration.is_set() && !is_synthetic(job_.model))
      add("/calibration/files",
          "missing; gptq, awq and aqlm need text files to calibrate on (as does int8 with static activations), or a \"set\" that `quench calibration build` made");
    check_calibration_set();
    for (std::size_t i = 0; i < calibration.files.size(); ++i)
      check_path(pointer_to("/calibration/files", i), calibration.files[i], "the path of a text file");
    const std::uint32_t least = calibration.set.empty() ? 1 : 0;  // 0: all of a set
    check_range("/calibration/sequences", calibration.sequences, least, kSequencesMax);
    check_range("/calibration/length", calibration.length, least, kLengthMax);
  }

  // A set says itself what it was cut from.
  void check_calibration_set() {
    const CalibrationSpec& calibration = job_.calibration;
    if (given("/calibration/set") && calibration.set.empty())
      add("/calibration/set", "empty; expected the name or digest of a calibration set, or leave the key out");
    if (calibration.set.size() > kPathBytesMax)
      add("/calibration/set", "longer than " + std::to_string(kPathBytesMax) + " bytes");
    if (!calibration.is_set()) return;
    const char* chosen = calibration.set.empty() ? "\"kind\" other than \"files\"" : "\"set\"";
    if (!calibration.files.empty())
      add("/calibration/files", std::string("a ") + chosen + " takes the windows of a set in the store: leave this key out, or that one");
  }

  void check_evaluation(const std::string& pointer, const EvaluateSpec& spec) {
    if (const std::string fault = benchmark_fault(spec.benchmark); !fault.empty())
      add(pointer + "/benchmark", fault);
    if (const std::string fault = language_fault(spec.benchmark, spec.language); !fault.empty())
      add(pointer + "/language", fault);
    check_range(pointer + "/samples", spec.samples, 1u, kSamplesMax);
    check_range(pointer + "/maxTokens", spec.max_tokens, 1u, kMaxTokensMax);
    if (!(spec.temperature >= 0 && spec.temperature <= kTemperatureMax))
      add(pointer + "/temperature", "expected a number from 0 (greedy) to 10");
    if (!(spec.top_p > 0 && spec.top_p <= 1)) add(pointer + "/topP", "expected a number above 0 and up to 1");
    check_range(pointer + "/timeoutSeconds", spec.timeout_seconds, 0u, kTimeoutSecondsMax);
    check_prompt_form(pointer, spec);
    check_chat(pointer, spec);
  }

  void check_chat(const std::string& pointer, const EvaluateSpec& spec) {
    if (spec.chat == ChatTemplate::none) return;
    if (spec.cut == CompletionCut::first_function)
      add(pointer + "/cut",
          "a chat answer is a whole program, which \"firstFunction\" would cut: leave this key out, or "
          "\"chat\"");
  }

  void check_prompt_form(const std::string& pointer, const EvaluateSpec& spec) {
    const bool is_mbpp = spec.benchmark == "mbpp" || spec.benchmark == "mbpp-sanitized";
    const bool is_evalplus =
        spec.benchmark == "humaneval" || spec.benchmark == "humaneval+" || spec.benchmark == "mbpp+";
    if (spec.prompt_form == PromptStyle::three_shot && !is_mbpp)
      add(pointer + "/promptForm", "only mbpp and mbpp-sanitized have the form \"threeShot\": leave it out");
    if (spec.prompt_form == PromptStyle::three_shot && spec.chat != ChatTemplate::none)
      add(pointer + "/promptForm",
          "the form \"threeShot\" is a text to go on with, not a question: leave this "
          "key out, or \"chat\"");
    if (spec.prompt_form == PromptStyle::evalplus && !is_evalplus)
      add(pointer + "/promptForm",
          "only humaneval, humaneval+ and mbpp+ have the form \"evalplus\": leave it out");
  }

  // Every key that the file gives must say what the protocol says.
  void check_protocol() {
    if (!given("/protocol")) return;
    const std::vector<std::string> known = protocol_names();
    if (std::find(known.begin(), known.end(), job_.protocol) == known.end())
      return add("/protocol",
                 "unknown name \"" + job_.protocol.substr(0, 60) + "\"" + known_names(job_.protocol, known));
    for (std::size_t i = 0; i < job_.evaluate.size(); ++i)
      check_under_protocol(pointer_to("/evaluate", i), job_.evaluate[i]);
  }

  void check_under_protocol(const std::string& pointer, const EvaluateSpec& spec) {
    const std::string protocol = "the protocol " + job_.protocol;
    const auto wanted = under_protocol(job_.protocol, spec);
    if (!wanted) {
      std::string used;
      for (const EvaluateSpec& one : protocol_evaluations(job_.protocol))
        if (one.language == "python") used += (used.empty() ? "" : ", ") + one.benchmark;
      return add(pointer + "/benchmark", protocol + " does not use " + spec.benchmark + "; it uses " + used +
                                             ": take one of these, or leave \"protocol\" out");
    }
    const std::string line = " (line " + std::to_string(place_of("/protocol").line) + ")";
    const auto found = field_texts(spec), expected = field_texts(*wanted);
    for (const auto& [key, text] : found)
      if (given(pointer + "/" + key) && text != expected.at(key))
        add(pointer + "/" + key, "found " + text + ", but " + protocol + line + " says " + expected.at(key) +
                                     ": leave this key out, or \"protocol\"");
  }

  const JobSpec& job_;
  const JsonPlaces& places_;
  std::vector<JsonMistake>& mistakes_;
};

std::string absolute_in(const std::filesystem::path& base_dir, const std::string& path) {
  std::filesystem::path full = std::filesystem::absolute(base_dir / path).lexically_normal();
  if (!full.has_filename() && full.has_relative_path()) full = full.parent_path();
  return full.string();
}

std::string name_from(const JobSpec& job) {
  std::string name = std::filesystem::path(job.model).filename().string();
  if (is_endpoint(job.model))
    name = job.model_name.empty() ? parse_endpoint_url(job.model).host
                                  : std::filesystem::path(job.model_name).filename().string();
  name = name.substr(0, kNameBytesMax);
  std::replace_if(
      name.begin(), name.end(), [](char c) { return !is_ref_character(c); }, '-');
  return name_fault(name).empty() ? name : "job";
}

}  // namespace

void check_job(const JobSpec& job, const JsonPlaces& places, std::vector<JsonMistake>& mistakes) {
  JobCheck(job, places, mistakes).run();
}

JobSpec completed_job(JobSpec job, const JsonPlaces& places, const std::filesystem::path& base_dir) {
  if (is_synthetic(job.model)) {
    job.model = parse_synthetic_model(job.model).name;
    // Random weights as they are serve nobody, and those of a large shape fill a disk.
    if (!places.contains("/baseline")) job.baseline = false;
  } else {
    job.model = is_endpoint(job.model) ? parse_endpoint_url(job.model).to_string() : absolute_in(base_dir, job.model);
  }
  for (std::string& file : job.calibration.files) file = absolute_in(base_dir, file);
  if (job.name.empty()) job.name = name_from(job);
  for (QuantizeSpec& spec : job.quantize) spec = with_fixed_settings(spec);
  // All of a named set, where the job does not want a part of it.
  const bool is_named = !job.calibration.set.empty();
  if (is_named && !places.contains("/calibration/sequences")) job.calibration.sequences = 0;
  if (is_named && !places.contains("/calibration/length")) job.calibration.length = 0;
  if (job.protocol.empty()) return job;
  for (EvaluateSpec& spec : job.evaluate) spec = under_protocol(job.protocol, spec).value();
  if (job.evaluate.empty()) job.evaluate = protocol_evaluations(job.protocol);
  if (is_named) return job;
  const CalibrationSpec calibration = protocol_calibration(job.protocol);
  if (!places.contains("/calibration/sequences")) job.calibration.sequences = calibration.sequences;
  if (!places.contains("/calibration/length")) job.calibration.length = calibration.length;
  return job;
}

}  // namespace quench
