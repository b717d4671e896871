// What stands in a report's tables. Plain words and numbers; table.h gives them their form.
#pragma once

#include <string>
#include <vector>

#include "coordinator/report/report.h"
#include "coordinator/report/table.h"

namespace quench::coordinator {

// What the bits cost, one line per artifact and evaluation, with the comparison against the baseline.
Table score_table(const JobReport& report);
// Every k that was asked for; without rows when none was.
Table pass_at_k_table(const std::vector<ArtifactScore>& artifacts);
// All tests and intervals of each comparison, p-values adjusted within its family.
Table comparison_table(const std::vector<Comparison>& comparisons);
// What rounding the weights to 8 bits costs, and what rounding the activations costs besides: one line per artifact with
// integer activations and evaluation. Without rows where there is none.
Table activation_table(const JobReport& report);
// Bytes on disk and in memory, bits per weight.
Table memory_table(const JobReport& report);
// Seconds, joules and carbon of each phase, or why they were not measured.
Table energy_table(const JobReport& report);
// Those of the above that have rows, in this order, and the tables of the report's protocol (study.h).
std::vector<Table> report_tables(const JobReport& report);

// For a terminal: the scores and the protocol's tables; and everything.
std::string report_to_summary(const JobReport& report);
std::string report_to_text(const JobReport& report);
std::string report_to_markdown(const JobReport& report);
// A document that \input takes: tables alone, for packages booktabs and (beyond Latin letters) a Unicode
// engine.
std::string report_to_latex(const JobReport& report);

// `quench compare` without --json.
std::string comparisons_to_text(const std::vector<ArtifactScore>& subjects,
                                const std::vector<Comparison>& comparisons);

}  // namespace quench::coordinator
