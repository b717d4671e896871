#include "coordinator/report/study.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <tuple>

#include "coordinator/report/words.h"

namespace quench::coordinator {
namespace {

using nlohmann::json;

constexpr std::uint32_t kFloatBits = 16;

struct KnownModel {
  const char* family;  // both in the name's last part, in lower case
  const char* size;
  const char* name;
};
constexpr std::array kModels = {
    KnownModel{"deepseek", "1.3b", "DeepSeek-1.3B"}, KnownModel{"deepseek", "6.7b", "DeepSeek-6.7B"},
    KnownModel{"deepseek", "33b", "DeepSeek-33B"},   KnownModel{"codellama", "13b", "CodeLlama-13B"},
    KnownModel{"codellama", "34b", "CodeLlama-34B"}, KnownModel{"codellama", "7b", "CodeLlama-7B"},
};

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// One evaluation of ours as the study would call it.
struct Ours {
  const ArtifactScore* artifact = nullptr;
  const EvaluationScore* evaluation = nullptr;
  const Comparison* comparison = nullptr;  // against the unquantized model; null for that itself
  std::string model;                       // the study's name, else our own
  std::string kind;                        // of the calibration set, as far as it is named
};

std::string model_name(const ArtifactScore& artifact) {
  const std::string known = study_model(artifact.model);
  return known.empty() ? std::filesystem::path(artifact.model).filename().string() : known;
}

std::vector<Ours> our_evaluations(const JobReport& report) {
  std::vector<Ours> all;
  for (const ArtifactScore& artifact : report.artifacts)
    for (std::size_t i = 0; i < artifact.evaluations.size(); ++i) {
      const EvaluationScore& evaluation = artifact.evaluations[i];
      const std::string benchmark = lower(evaluation.spec.benchmark);
      if (benchmark.find("humaneval") == std::string::npos || benchmark.find("plus") != std::string::npos ||
          benchmark.find('+') != std::string::npos)
        continue;
      Ours one{&artifact, &evaluation, nullptr, model_name(artifact),
               calibration_kind(artifact.calibration_spec)};
      for (const Comparison& comparison : report.comparisons)
        if (comparison.b == artifact.name && comparison.evaluation_b == i) one.comparison = &comparison;
      all.push_back(std::move(one));
    }
  return all;
}

// The study's baseline is fp16; ours stands for it in whatever type the model is stored.
bool is_precision(const ArtifactScore& artifact, std::uint32_t bits) {
  return bits == kFloatBits ? artifact.method == Method::none
                            : artifact.method != Method::none && artifact.bits == bits;
}

// The first of ours that stands for a row of the study. `kinds`: calibration sets that count; the unquantized
// model has none and always counts.
const Ours* find(const std::vector<Ours>& all, const std::string& model, const std::string& language,
                 std::uint32_t bits, const std::set<std::string>& kinds) {
  for (const Ours& one : all)
    if (one.model == model && one.evaluation->spec.language == language &&
        is_precision(*one.artifact, bits) &&
        (one.artifact->calibration.is_none() || kinds.contains(one.kind)))
      return &one;
  return nullptr;
}

std::string cell(const json& row, const char* key, const char* format) {
  return row.contains(key) ? fmt::format(fmt::runtime(format), row[key].get<double>()) : kNothing;
}

std::string precision_name(std::uint32_t bits, bool fine_tuned) {
  return (bits >= kFloatBits ? "fp" + std::to_string(bits) : std::to_string(bits) + " bits") +
         (fine_tuned ? " + FT" : "");
}

void add_ours(std::vector<std::string>& row, const Ours* ours) {
  if (ours == nullptr) {
    row.insert(row.end(), {kNothing, kNothing, kNothing, kNothing, kNothing});
    return;
  }
  row.push_back(ours->artifact->name);
  row.push_back(percent(ours->evaluation->pass_at_1));
  if (ours->comparison == nullptr)
    row.insert(row.end(), {kNothing, kNothing, kNothing});
  else
    row.insert(row.end(),
               {fmt::format("{}/{}", ours->comparison->pairs.only_a, ours->comparison->pairs.only_b),
                odds(ours->comparison->odds_ratio), p_value(ours->comparison->pooled.benjamini_hochberg)});
}

Table precision_table(const json& study, const std::vector<Ours>& all) {
  Table table;
  table.title = "RQ1: precision (HumanEval, pass@1 %)";
  table.columns = {{"model", true}, {"language", true}, {"precision", true}, {"published"}, {"lost/won"},
                   {"OR"},          {"p adj."},         {"here", true},      {"pass@1"},    {"lost/won"},
                   {"OR"},          {"p adj."}};
  std::set<const Ours*> placed;
  for (const json& row : study["precision"]) {
    const auto bits = row["bits"].get<std::uint32_t>();
    const bool fine_tuned = row["fine_tuned"];
    const Ours* ours = fine_tuned ? nullptr : find(all, row["model"], row["language"], bits, {"random", ""});
    if (ours != nullptr) placed.insert(ours);
    std::vector<std::string> cells = {
        row["model"],
        row["language"],
        precision_name(bits, fine_tuned),
        cell(row, "pass_at_1", "{:.2f}"),
        row.contains("lost") ? fmt::format("{}/{}", row["lost"].get<int>(), row["won"].get<int>()) : kNothing,
        cell(row, "odds_ratio", "{:.2f}"),
        row.contains("p_adjusted") ? p_value(row["p_adjusted"]) : kNothing};
    add_ours(cells, ours);
    table.rows.push_back(std::move(cells));
  }
  for (const Ours& one : all) {
    if (placed.contains(&one)) continue;
    std::vector<std::string> cells = {one.model,
                                      one.evaluation->spec.language,
                                      precision_name(one.artifact->bits, false),
                                      kNothing,
                                      kNothing,
                                      kNothing,
                                      kNothing};
    add_ours(cells, &one);
    table.rows.push_back(std::move(cells));
  }
  table.notes.push_back(
      "Published: " + study["source"].get<std::string>() + "; " + study["method"].get<std::string>() + "; " +
      study["marks"]["precision"].get<std::string>() +
      ". here: this report's artifacts of the same model, bits and language, whatever their method; "
      "FT: end-to-end fine-tuning.");
  return table;
}

Table calibration_table(const json& study, const std::vector<Ours>& all) {
  Table table;
  table.title = "RQ2: calibration set (HumanEval, pass@1 %)";
  table.columns = {{"model", true}, {"language", true}, {"bits"},        {"random"},    {"mixed"},
                   {"code"},        {"random, here"},   {"mixed, here"}, {"code, here"}};
  const auto here = [&](const std::string& model, const std::string& language, std::uint32_t bits,
                        const std::string& kind) {
    const Ours* ours = find(all, model, language, bits, {kind});
    return ours == nullptr || ours->kind != kind ? std::string(kNothing)
                                                 : percent(ours->evaluation->pass_at_1);
  };
  std::set<std::tuple<std::string, std::string, std::uint32_t>> published;
  for (const json& row : study["calibration"]) {
    const std::string model = row["model"], language = row["language"];
    const auto bits = row["bits"].get<std::uint32_t>();
    published.emplace(model, language, bits);
    table.rows.push_back({model, language, std::to_string(bits), cell(row, "random", "{:.2f}"),
                          cell(row, "mixed", "{:.2f}"), cell(row, "code", "{:.2f}"),
                          here(model, language, bits, "random"), here(model, language, bits, "mixed"),
                          here(model, language, bits, "code")});
  }
  for (const Ours& one : all) {
    const std::string& language = one.evaluation->spec.language;
    if (one.kind.empty() || one.artifact->calibration.is_none() ||
        !published.emplace(one.model, language, one.artifact->bits).second)
      continue;
    const std::uint32_t bits = one.artifact->bits;
    table.rows.push_back({one.model, language, std::to_string(bits), kNothing, kNothing, kNothing,
                          here(one.model, language, bits, "random"), here(one.model, language, bits, "mixed"),
                          here(one.model, language, bits, "code")});
  }
  table.notes.push_back("Published: " + study["marks"]["calibration"].get<std::string>() +
                        ". here: artifacts of calibration sets of these kinds, or whose calibration files are called random, mixed or code.");
  return table;
}

Table size_table(const json& study, const std::vector<Ours>& all) {
  Table table;
  table.title = "RQ3: model size (2 bits, mixed calibration, points of pass@1 lost against fp16)";
  table.columns = {{"model", true}, {"language", true}, {"published"}, {"published, + FT"}, {"here"}};
  const auto here = [](const Ours* ours) {
    return ours == nullptr || ours->comparison == nullptr
               ? std::string(kNothing)
               : fmt::format("{:.1f}", -100.0 * ours->comparison->risk.difference);
  };
  std::set<std::pair<std::string, std::string>> published;
  for (const json& row : study["size"]) {
    const std::string model = row["model"], language = row["language"];
    published.emplace(model, language);
    table.rows.push_back({model, language, cell(row, "points_lost", "{:.1f}"),
                          cell(row, "points_lost_fine_tuned", "{:.1f}"),
                          here(find(all, model, language, 2, {"mixed"}))});
  }
  for (const Ours& one : all)
    if (one.artifact->bits == 2 && one.kind == "mixed" &&
        published.emplace(one.model, one.evaluation->spec.language).second)
      table.rows.push_back({one.model, one.evaluation->spec.language, kNothing, kNothing, here(&one)});
  table.notes.push_back("Published: " + study["marks"]["size"].get<std::string>() + ".");
  return table;
}

Table study_memory_table(const json& study, const JobReport& report) {
  Table table;
  table.title = "Memory (GB = 1e9 bytes)";
  table.columns = {{"model", true}, {"precision", true}, {"published"}, {"here"}, {"artifact", true}};
  std::set<const ArtifactScore*> placed;
  for (const json& row : study["memory"]) {
    const auto bits = row["bits"].get<std::uint32_t>();
    const ArtifactScore* ours = nullptr;
    for (const ArtifactScore& artifact : report.artifacts)
      if (ours == nullptr && model_name(artifact) == row["model"] && is_precision(artifact, bits))
        ours = &artifact;
    if (ours != nullptr) placed.insert(ours);
    table.rows.push_back(
        {row["model"], precision_name(bits, false), cell(row, "gigabytes", "{:.2f}"),
         ours == nullptr ? kNothing : fmt::format("{:.2f}", static_cast<double>(ours->bytes) / 1e9),
         ours == nullptr ? kNothing : ours->name});
  }
  for (const ArtifactScore& artifact : report.artifacts)
    if (!placed.contains(&artifact))
      table.rows.push_back({model_name(artifact), precision_name(artifact.bits, false), kNothing,
                            fmt::format("{:.3g}", static_cast<double>(artifact.bytes) / 1e9), artifact.name});
  table.notes.push_back("Published: " + study["marks"]["memory"].get<std::string>() +
                        ". here: bytes of all chunks; Quench packs its codes.");
  return table;
}

}  // namespace

std::string study_model(const std::string& path) {
  std::filesystem::path directory(path);
  if (!directory.has_filename()) directory = directory.parent_path();
  const std::string name = lower(directory.filename().string());
  if (name.find("instruct") != std::string::npos || name.find("python") != std::string::npos) return {};
  const std::string words = "-" + name + "-";
  for (const KnownModel& model : kModels)
    if (name.find(model.family) != std::string::npos &&
        words.find("-" + std::string(model.size) + "-") != std::string::npos)
      return model.name;
  return {};
}

std::string calibration_kind(const CalibrationSpec& spec) {
  if (spec.kind != CalibrationKind::files) return std::string(to_string(spec.kind));
  std::set<std::string> said;
  for (const std::string& file : spec.files) {
    const std::string name = lower(std::filesystem::path(file).stem().string());
    bool any = false;
    for (const char* kind : {"random", "mixed", "code"})
      if (name.find(kind) != std::string::npos) {
        said.insert(kind);
        any = true;
      }
    if (!any) return {};
  }
  return said.size() == 1 ? *said.begin() : std::string();
}

std::vector<Table> study_tables(const JobReport& report) {
  const json study = json::parse(published_study());
  const std::vector<Ours> all = our_evaluations(report);
  return {precision_table(study, all), calibration_table(study, all), size_table(study, all),
          study_memory_table(study, report)};
}

}  // namespace quench::coordinator
