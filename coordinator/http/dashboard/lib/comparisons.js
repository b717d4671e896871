// Paired comparisons of artifacts, as `quench compare` has them.
import { h } from "./dom.js";
import { table } from "./parts.js";
import * as words from "./words.js";

const interval = (low, high, digits) =>
  low === null || high === null ? "" : ` [${words.number(low, digits)}, ${words.number(high, digits)}]`;

// `sides`: with the two names, where they are not the same in every row.
export function comparisonTable(comparisons, sides = true) {
  return [
    table({
      label: "Comparisons",
      rows: comparisons,
      columns: [
        ...(sides ? [{ title: "A", cell: (one) => one.a }, { title: "B", cell: (one) => one.b }] : []),
        { title: "Benchmark", cell: (one) => `${one.benchmark}, ${one.language}` },
        { title: "Only A passes", number: true, cell: (one) => String(one.only_a) },
        { title: "Only B passes", number: true, cell: (one) => String(one.only_b) },
        { title: "Of pairs", number: true, cell: (one) => String(one.pairs) },
        { title: "Difference", number: true, cell: (one) => words.points(one.risk_difference) },
        { title: "Odds ratio [95 %]", number: true, cell: (one) => one.odds_ratio === null ? words.kNothing : words.number(one.odds_ratio) + interval(one.odds_ratio_low, one.odds_ratio_high) },
        { title: "p, adjusted", number: true, cell: (one) => words.probability(one.p_adjusted) },
        { title: "by task", number: true, cell: (one) => words.probability(one.p_by_task_adjusted) },
      ],
    }),
    [...new Set(comparisons.flatMap((one) => one.warnings ?? []))].map((warning) => h("p", { class: "reason" }, warning)),
  ];
}
