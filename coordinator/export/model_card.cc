#include "coordinator/export/model_card.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "coordinator/export/carried_files.h"
#include "coordinator/kept_completions.h"
#include "coordinator/records.h"
#include "coordinator/report/words.h"
#include "coordinator/scoring/scoreboard.h"
#include "schemas/codec.h"
#include "schemas/model_config.h"
#include "schemas/small_file.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kTextBytesMax = 1 << 20;
constexpr const char* kLicenceFiles[] = {"LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING",
                                         "NOTICE",  "NOTICE.txt",  "USE_POLICY.md"};

// The directory that a job of this store read the source from, where it still holds what the artifact carries.
fs::path source_directory(const ArtifactStore& store, const Manifest& manifest) {
  for (const std::string& id : store.list_jobs()) {
    const std::vector<JournalEvent> events = store.read_journal(id);
    if (events.empty()) continue;
    const quench::JournalEvent first = decode_journal_event(events.front().bytes);
    const auto* const accepted = std::get_if<JobAccepted>(&first);
    if (accepted == nullptr || accepted->source != manifest.source) continue;
    const fs::path directory = accepted->job.model;
    const bool same = !manifest.files.empty() &&
                      std::all_of(manifest.files.begin(), manifest.files.end(), [&](const FileRecord& file) {
                        std::error_code error;
                        return fs::is_regular_file(directory / file.name, error) &&
                               fs::file_size(directory / file.name, error) == file.chunk.bytes &&
                               sha256_file(directory / file.name) == file.chunk.digest;
                      });
    if (same) return directory;
  }
  return {};
}

std::string scores_text(const ArtifactStore& store, const Digest& artifact) {
  std::string rows;
  for (const KeptEvaluation& evaluation : kept_evaluations(store, artifact)) {
    ScoreInput input{evaluation.key.spec, evaluation.digest, evaluation.key.benchmark, evaluation.task_ids,
                     read_verdicts(store, evaluation.digest)};
    std::uint32_t tasks = 0, samples = 0;
    for (const Verdict& verdict : input.verdicts) {
      tasks = std::max(tasks, verdict.task + 1);
      samples = std::max(samples, verdict.sample + 1);
    }
    // A place without a verdict is a job under way: its score is not known yet.
    if (tasks == 0 || tasks > input.task_ids.size() || input.verdicts.size() != std::size_t{tasks} * samples) continue;
    input.spec.tasks = tasks;
    input.spec.samples = samples;
    const EvaluationScore result = score(input);
    rows += fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", input.spec.benchmark, input.spec.language,
                        tasks == input.task_ids.size() ? std::to_string(tasks)
                                                       : fmt::format("first {} of {}", tasks, input.task_ids.size()),
                        samples, input.spec.temperature, percent(result.pass_at_1), interval(result.interval));
  }
  if (rows.empty()) return "No evaluation of this artifact was complete where it was exported.\n";
  return "| benchmark | language | tasks | samples | temperature | pass@1, % | 95 % interval |\n|---|---|---|---|---|---|---|\n" +
         rows;
}

std::string grid_text(const QuantizeSpec& recipe) {
  if (recipe.method == Method::aqlm)
    return fmt::format("{} codebooks of 2^{} entries, groups of {}", recipe.codebooks, recipe.codebook_bits, recipe.group_size);
  if (recipe.budget_gib > 0) return fmt::format("chosen for each linear within {} GiB", recipe.budget_gib);
  std::string text = fmt::format("{} bits, {}, {}", recipe.bits, recipe.symmetric ? "symmetric" : "asymmetric",
                                 recipe.group_size < 0 ? std::string("one scale a row") : fmt::format("groups of {}", recipe.group_size));
  if (recipe.activations != Activations::none) text += fmt::format(", {} activations of 8 bits", to_string(recipe.activations));
  if (recipe.arithmetic == Arithmetic::bf16) text += ", quantized with products of bf16";
  return recipe.method == Method::gptq && recipe.act_order ? text + ", act-order" : text;
}

std::string row(std::string_view what, std::string_view value) { return fmt::format("| {} | {} |\n", what, value); }

}  // namespace

std::string front_matter_word(std::string_view card, std::string_view key) {
  std::istringstream lines{std::string(card)};
  std::string line;
  const auto next = [&] {
    if (!std::getline(lines, line)) return false;
    if (line.ends_with('\r')) line.pop_back();
    return true;
  };
  if (!next() || line != "---") return {};
  while (next() && line != "---") {
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ':') continue;
    std::string value = line.substr(key.size() + 1);
    std::erase_if(value, [](char c) { return c == ' ' || c == '"' || c == '\''; });
    const bool plain = std::all_of(value.begin(), value.end(), [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_' || c == '+';
    });
    return plain ? value : std::string();
  }
  return {};
}

void write_model_card(const ArtifactStore& store, const Digest& artifact, const Manifest& manifest, std::string_view format,
                      const fs::path& directory) {
  std::string licence, licence_name, texts;
  if (const fs::path source = source_directory(store, manifest); !source.empty()) {
    if (fs::is_regular_file(source / "README.md") && fs::file_size(source / "README.md") <= kTextBytesMax) {
      const std::string card = read_small_file(source / "README.md", kTextBytesMax);
      licence = front_matter_word(card, "license");
      licence_name = front_matter_word(card, "license_name");
    }
    for (const char* name : kLicenceFiles)
      if (fs::is_regular_file(source / name)) {
        write_file(directory / name, read_small_file(source / name, kTextBytesMax));
        texts += (texts.empty() ? "" : ", ") + std::string(name);
      }
  }
  std::string stated = licence;
  if (!licence_name.empty()) stated += " (" + licence_name + ")";
  if (!texts.empty()) stated += (stated.empty() ? "in " : "; text in ") + texts;
  if (stated.empty()) stated = "not stated where this was exported: the source's holds";

  const QuantizeSpec& recipe = manifest.recipe;
  const bool quantized = recipe.method != Method::none;
  std::string text = "---\n";
  if (!licence.empty()) text += "license: " + licence + "\n";
  if (!licence_name.empty()) text += "license_name: " + licence_name + "\n";
  text += fmt::format("tags:\n- quench\n- {}\n---\n\n# {}\n\n", to_string(recipe.method), derived_name(recipe));
  text += quantized ? "Weights of a code model, quantized by Quench.\n\n" : "Weights of a code model, as Quench read them.\n\n";
  text += "| | |\n|---|---|\n";
  text += row("method", to_string(recipe.method));
  if (quantized) text += row("codes", grid_text(recipe));
  text += row("bits per weight in the artifact", fmt::format("{:.3f}", bits_per_weight(manifest)));
  text += row("format here", format);
  text += row("source (SHA-256)", manifest.source.hex());
  text += row("calibration (SHA-256)", manifest.calibration.is_none() ? "none" : manifest.calibration.hex());
  if (!manifest.calibration_set.is_none()) text += row("calibration set (SHA-256)", manifest.calibration_set.hex());
  text += row("artifact (SHA-256)", artifact.hex());
  text += row("licence of the source", stated);
  if (!manifest.losses.empty()) {
    double sum = 0;
    for (const LinearLoss& loss : manifest.losses) sum += loss.relative_loss;
    text += row("mean relative loss of the linears", fmt::format("{:.3e}", sum / static_cast<double>(manifest.losses.size())));
  }
  text += "\n## Scores\n\n" + scores_text(store, artifact);
  write_file(directory / "README.md", text);
}

}  // namespace quench::coordinator
