#include "coordinator/report/tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "coordinator/report/escape.h"
#include "coordinator/report/study.h"
#include "coordinator/report/words.h"

namespace quench::coordinator {
namespace {

constexpr char kNotMeasured[] = "not measured";

std::string benchmark_name(const EvaluateSpec& spec) {
  return spec.language.empty() || spec.language == "python" ? spec.benchmark
                                                            : spec.benchmark + " " + spec.language;
}

const Comparison* comparison_of(const JobReport& report, const ArtifactScore& artifact,
                                std::size_t evaluation) {
  for (const Comparison& comparison : report.comparisons)
    if (comparison.b == artifact.name && comparison.evaluation_b == evaluation) return &comparison;
  return nullptr;
}

bool any_evaluation(const std::vector<ArtifactScore>& artifacts) {
  return std::any_of(artifacts.begin(), artifacts.end(),
                     [](const ArtifactScore& artifact) { return !artifact.evaluations.empty(); });
}

std::string p_range(const std::optional<Interval>& range) {
  return range ? points(range->low) + " .. " + points(range->high) : std::string(kNothing);
}

std::string effect(const std::optional<double>& difference) {
  return difference ? percent(*difference) : std::string(kNothing);
}

std::string bytes_or(std::uint64_t bytes) { return bytes == 0 ? kNotMeasured : megabytes(bytes); }

void add_energy_row(Table& table, const JobReport& report, const std::string& artifact,
                    const std::string& phase, const std::vector<PhaseUsage>& usage,
                    std::set<std::string>& methods, std::set<std::string>& notes) {
  if (usage.empty()) return;
  const PhaseTotals totals = total(usage);
  std::vector<std::string> row = {artifact, phase, seconds_text(totals.seconds)};
  if (totals.energy) {
    const EnergyUse& use = *totals.energy;
    row.insert(row.end(), {fmt::format("{:.0f}", use.joules),
                           use.idle_joules ? fmt::format("{:.0f}", *use.idle_joules) : kNotMeasured,
                           fmt::format("{:.3f}", carbon_grams(use.joules, report.carbon))});
    methods.insert(use.counters.begin(), use.counters.end());
  } else {
    row.insert(row.end(), {kNotMeasured, kNotMeasured, kNotMeasured});
  }
  if (!totals.energy_note.empty()) notes.insert(totals.energy_note);
  table.rows.push_back(std::move(row));
}

}  // namespace

Table score_table(const JobReport& report) {
  Table table;
  table.title = "What the bits cost";
  table.columns = {{"artifact", true}, {"MB"}, {"bits/weight"}, {"loss"}, {"seconds"}};
  const bool evaluated = any_evaluation(report.artifacts);
  if (evaluated)
    table.columns.insert(table.columns.end(), {{"benchmark", true},
                                               {"passed"},
                                               {"pass@1 %"},
                                               {"95 % interval"},
                                               {"lost/won"},
                                               {"odds"},
                                               {"p adj."},
                                               {"p by task"}});
  for (const ArtifactScore& artifact : report.artifacts) {
    const std::vector<std::string> head = {
        artifact.name, megabytes(artifact.bytes), fmt::format("{:.2f}", artifact.bits_per_weight),
        artifact.method == Method::none ? "" : fmt::format("{:.2e}", artifact.mean_relative_loss),
        seconds_text(artifact.seconds)};
    if (artifact.evaluations.empty()) {
      table.rows.push_back(head);
      table.rows.back().resize(table.columns.size());
    }
    for (std::size_t i = 0; i < artifact.evaluations.size(); ++i) {
      const EvaluationScore& score = artifact.evaluations[i];
      std::vector<std::string> row = head;
      row.insert(row.end(),
                 {benchmark_name(score.spec), fmt::format("{}/{}", score.passed, score.completions),
                  percent(score.pass_at_1), interval(score.interval)});
      if (const Comparison* comparison = comparison_of(report, artifact, i))
        row.insert(row.end(), {fmt::format("{}/{}", comparison->pairs.only_a, comparison->pairs.only_b),
                               odds(comparison->odds_ratio), p_value(comparison->pooled.benjamini_hochberg),
                               p_value(comparison->by_task.benjamini_hochberg)});
      row.resize(table.columns.size());
      table.rows.push_back(std::move(row));
    }
  }
  std::string note = "MB = 1e6 bytes of all chunks. loss: mean over linears of tr(dHd')/tr(WHW').";
  if (evaluated)
    note +=
        " Interval: bootstrap of whole tasks. lost/won: completions that only the baseline / only this "
        "artifact solved; odds: lost/won; p: exact McNemar on pooled completions, and a sign-flip "
        "permutation test of whole tasks, both adjusted by Benjamini-Hochberg.";
  table.notes.push_back(note);
  return table;
}

Table activation_table(const JobReport& report) {
  Table table;
  table.title = "Weights and activations of 8 bits";
  table.columns = {{"artifact", true}, {"activations", true}, {"benchmark", true}, {"pass@1 %"}, {"weights cost"}, {"activations cost"},
                   {"lost/won"}, {"p adj."}};
  const auto find = [&](const auto& wanted) {
    return std::find_if(report.artifacts.begin(), report.artifacts.end(), wanted);
  };
  const auto baseline = find([](const ArtifactScore& artifact) { return artifact.method == Method::none; });
  const auto weights_only = find([](const ArtifactScore& artifact) {
    return artifact.method == Method::int8 && artifact.recipe.activations == Activations::none;
  });
  const auto score_of = [&](auto artifact, std::size_t which) {
    return artifact == report.artifacts.end() || which >= artifact->evaluations.size() ? nullptr : &artifact->evaluations[which];
  };
  for (const ArtifactScore& artifact : report.artifacts) {
    if (artifact.recipe.activations == Activations::none) continue;
    for (std::size_t i = 0; i < artifact.evaluations.size(); ++i) {
      const EvaluationScore& own = artifact.evaluations[i];
      const EvaluationScore *whole = score_of(baseline, i), *weights = score_of(weights_only, i);
      const Comparison* comparison = comparison_of(report, artifact, i);
      table.rows.push_back({artifact.name, std::string(to_string(artifact.recipe.activations)), benchmark_name(own.spec),
                            percent(own.pass_at_1), whole && weights ? points(weights->pass_at_1 - whole->pass_at_1) : kNothing,
                            weights ? points(own.pass_at_1 - weights->pass_at_1) : kNothing,
                            comparison ? fmt::format("{}/{}", comparison->pairs.only_a, comparison->pairs.only_b) : kNothing,
                            comparison ? p_value(comparison->pooled.benjamini_hochberg) : kNothing});
    }
  }
  table.notes.push_back(
      "Points of pass@1: weights cost is int8 with activations as they are against the baseline, activations cost is this artifact "
      "against that. lost/won and p as among the scores, against the baseline.");
  return table;
}

Table pass_at_k_table(const std::vector<ArtifactScore>& artifacts) {
  Table table;
  table.title = "pass@k";
  table.columns = {{"artifact", true}, {"benchmark", true}, {"tasks"}, {"samples"}, {"k"},
                   {"pass@k %"},       {"95 % interval"}};
  const bool asked = std::any_of(artifacts.begin(), artifacts.end(), [](const ArtifactScore& artifact) {
    return std::any_of(artifact.evaluations.begin(), artifact.evaluations.end(),
                       [](const EvaluationScore& score) { return !score.pass_at.empty(); });
  });
  if (!asked) return table;
  for (const ArtifactScore& artifact : artifacts)
    for (const EvaluationScore& score : artifact.evaluations) {
      const auto add = [&](const PassAtK& one) {
        table.rows.push_back({artifact.name, benchmark_name(score.spec), std::to_string(score.tasks),
                              std::to_string(score.samples), std::to_string(one.k), percent(one.value),
                              interval(one.interval)});
      };
      add({1, score.pass_at_1, score.interval});
      for (const PassAtK& one : score.pass_at) add(one);
    }
  table.notes.push_back(
      "Unbiased estimator 1 - C(n-c, k)/C(n, k), mean over tasks; interval from 10,000 bootstrap resamplings "
      "of "
      "whole tasks.");
  return table;
}

Table comparison_table(const std::vector<Comparison>& comparisons) {
  Table table;
  table.title = "Paired comparisons";
  table.columns = {{"a", true},
                   {"b", true},
                   {"benchmark", true},
                   {"only a"},
                   {"only b"},
                   {"odds a:b"},
                   {"95 % interval"},
                   {"p"},
                   {"BH"},
                   {"Holm"},
                   {"b - a, points"},
                   {"95 % interval"},
                   {"p by task"},
                   {"BH"},
                   {"Holm"},
                   {"detectable"},
                   {"by task"}};
  std::set<std::string> families, warnings;
  bool drawn = false;
  for (const Comparison& one : comparisons) {
    table.rows.push_back(
        {one.a, one.b,
         one.language.empty() || one.language == "python" ? one.benchmark
                                                          : one.benchmark + " " + one.language,
         std::to_string(one.pairs.only_a), std::to_string(one.pairs.only_b), odds(one.odds_ratio),
         odds(one.odds_interval.low) + " .. " + odds(one.odds_interval.high), p_value(one.pooled.p),
         p_value(one.pooled.benjamini_hochberg), p_value(one.pooled.holm), points(one.risk.difference),
         p_range(one.risk.interval), p_value(one.by_task.p), p_value(one.by_task.benjamini_hochberg),
         p_value(one.by_task.holm), effect(one.detectable_pooled), effect(one.detectable_by_task)});
    families.insert(one.family);
    drawn = drawn || one.clustered.draws > 0;
    for (const std::string& warning : one.warnings) warnings.insert(one.a + ", " + one.b + ": " + warning);
  }
  table.notes.push_back(
      "only a / only b: completions of equal (task, sample) that only one solved. p: exact McNemar, p = "
      "min(1, 2 "
      "P(X <= min(b, c))), X binomial(b + c, 1/2); interval of the odds from Clopper-Pearson. b - a: pass@1 "
      "of b "
      "minus a in percentage points, interval from a bootstrap of whole tasks.");
  table.notes.push_back(fmt::format(
      "p by task: sign-flip permutation test of the tasks' differences, {}. BH, Holm: adjusted within the "
      "family "
      "({} of them{}).",
      drawn ? fmt::format("{} seeded draws, p = (r + 1)/(draws + 1), where the signs could not be enumerated",
                          kPermutationDraws)
            : "exact over all signs",
      families.size(), families.size() == 1 ? ": " + *families.begin() : ""));
  table.notes.push_back(
      "detectable: the smallest true difference in points that the test finds at p <= .05 with probability "
      ".8, "
      "McNemar given the discordant pairs seen; by task: (1.96 + 0.84) standard errors of the tasks' "
      "differences.");
  for (const std::string& warning : warnings) table.notes.push_back("Warning: " + warning + ".");
  return table;
}

Table memory_table(const JobReport& report) {
  Table table;
  table.title = "Memory";
  table.columns = {{"artifact", true}, {"on disk, MB"},          {"of the baseline, %"},
                   {"bits/weight"},    {"weights resident, MB"}, {"peak resident, MB"}};
  const auto baseline =
      std::find_if(report.artifacts.begin(), report.artifacts.end(),
                   [](const ArtifactScore& artifact) { return artifact.method == Method::none; });
  std::uint64_t sum = 0;
  for (const ArtifactScore& artifact : report.artifacts) {
    PhaseTotals loaded;
    for (const EvaluationScore& score : artifact.evaluations) {
      const PhaseTotals one = total(score.usage);
      loaded.weight_bytes = std::max(loaded.weight_bytes, one.weight_bytes);
      loaded.resident_peak_bytes = std::max(loaded.resident_peak_bytes, one.resident_peak_bytes);
    }
    sum += artifact.bytes;
    table.rows.push_back(
        {artifact.name, megabytes(artifact.bytes),
         baseline == report.artifacts.end() || baseline->bytes == 0
             ? kNothing
             : percent(static_cast<double>(artifact.bytes) / static_cast<double>(baseline->bytes)),
         fmt::format("{:.3f}", artifact.bits_per_weight), bytes_or(loaded.weight_bytes),
         bytes_or(loaded.resident_peak_bytes)});
  }
  table.notes.push_back(fmt::format(
      "on disk: bytes of the artifact's chunks, each counted once; all of these together {} MB, of which the "
      "store "
      "keeps {} MB because artifacts share chunks. bits/weight: codes, scales, zeros, permutations and codebooks of the "
      "linears of the blocks.",
      megabytes(sum), megabytes(report.distinct_bytes)));
  table.notes.push_back(
      "weights resident: exact sum of the buffers that hold the loaded weights in one process; peak "
      "resident: of the "
      "whole process so far, earlier artifacts included.");
  return table;
}

Table energy_table(const JobReport& report) {
  Table table;
  table.title = "Time and energy";
  table.columns = {{"artifact", true}, {"phase", true},  {"seconds"},
                   {"joules"},         {"of them idle"}, {"g CO2e"}};
  std::set<std::string> methods, notes;
  for (const ArtifactScore& artifact : report.artifacts) {
    add_energy_row(table, report, artifact.name, "quantize", artifact.usage, methods, notes);
    for (const EvaluationScore& score : artifact.evaluations)
      add_energy_row(table, report, artifact.name, "generate and execute " + benchmark_name(score.spec),
                     score.usage, methods, notes);
  }
  if (table.rows.empty()) return table;
  if (!methods.empty()) {
    std::string counters;
    for (const std::string& method : methods) counters += (counters.empty() ? "" : ", ") + method;
    table.notes.push_back("Measured with the counters " + counters +
                          ", each once per host; they count everything that the host did meanwhile. of them "
                          "idle: mean power before the first order, times the seconds. Attempts that ended "
                          "early are not included.");
    table.notes.push_back(fmt::format("g CO2e: joules at {:g} g per kWh, {}.", report.carbon.grams_per_kwh,
                                      report.carbon.source));
  }
  for (const std::string& note : notes) table.notes.push_back("Energy not measured: " + note + ".");
  return table;
}

std::vector<Table> report_tables(const JobReport& report) {
  std::vector<Table> tables = {score_table(report), activation_table(report), pass_at_k_table(report.artifacts),
                               comparison_table(report.comparisons), memory_table(report),
                               energy_table(report)};
  if (report.protocol == kStudyProtocol)
    for (Table& table : study_tables(report)) tables.push_back(std::move(table));
  std::erase_if(tables, [](const Table& table) { return table.rows.empty(); });
  return tables;
}

std::string report_to_summary(const JobReport& report) {
  std::string text = table_to_text(score_table(report));
  if (const Table table = activation_table(report); !table.rows.empty())
    text += "\n" + table.title + "\n\n" + table_to_text(table);
  if (report.protocol == kStudyProtocol)
    for (const Table& table : study_tables(report))
      text += "\n" + table.title + "\n\n" + table_to_text(table);
  return text;
}

std::string report_to_text(const JobReport& report) {
  std::string text;
  for (const Table& table : report_tables(report))
    text += (text.empty() ? "" : "\n") + terminal_text(table.title) + "\n\n" + table_to_text(table);
  return text;
}

std::string report_to_markdown(const JobReport& report) {
  std::string text = "# " + markdown_text(report.job_name.empty() ? "Report" : report.job_name) + "\n\n" +
                     markdown_text(report.model) + "\n";
  for (const Table& table : report_tables(report)) text += "\n" + table_to_markdown(table);
  return text;
}

std::string report_to_latex(const JobReport& report) {
  std::string text =
      "% Tables of a Quench report. In the preamble: \\usepackage[T1]{fontenc} \\usepackage{booktabs}\n";
  for (const Table& table : report_tables(report)) text += "\n" + table_to_latex(table);
  return text;
}

std::string comparisons_to_text(const std::vector<ArtifactScore>& subjects,
                                const std::vector<Comparison>& comparisons) {
  std::string text;
  if (const Table table = pass_at_k_table(subjects); !table.rows.empty()) text += table_to_text(table) + "\n";
  return text + table_to_text(comparison_table(comparisons));
}

}  // namespace quench::coordinator
