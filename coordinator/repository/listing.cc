#include "coordinator/repository/listing.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "coordinator/report/words.h"
#include "coordinator/store/policy.h"
#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

using nlohmann::ordered_json;

struct Row {
  Ref ref;
  const Lineage* lineage = nullptr;
  std::optional<double> pass_at_1;
  std::string benchmark;
};

bool fits(const Row& row, const ListChoice& choice) {
  const Manifest& manifest = row.lineage->manifest;
  if (!choice.name.empty() && !fits_pattern(row.ref.name, choice.name)) return false;
  if (!choice.model.empty() && row.lineage->model_name().find(choice.model) == std::string::npos &&
      !manifest.source.hex().starts_with(choice.model))
    return false;
  const bool about_weights = !choice.method.empty() || choice.bits;
  if (about_weights && manifest.set) return false;
  if (choice.bytes_max && artifact_bytes(manifest) > *choice.bytes_max) return false;
  if (choice.percent_min && (!row.pass_at_1 || 100 * *row.pass_at_1 < *choice.percent_min)) return false;
  if (!choice.method.empty() && to_string(manifest.recipe.method) != choice.method) return false;
  return !choice.bits || nominal_bits(manifest) == *choice.bits;
}

// What is missing stands at the end, in either direction.
template <typename Value>
bool before(const std::optional<Value>& a, const std::optional<Value>& b, bool reverse) {
  if (!a || !b) return a.has_value() && !b.has_value();
  return reverse ? *b < *a : *a < *b;
}

bool before(const Row& a, const Row& b, const ListChoice& choice) {
  const auto number = [&](const Row& row) -> std::optional<double> {
    const Manifest& manifest = row.lineage->manifest;
    if (choice.sort == "date") return static_cast<double>(row.ref.time_ms);
    if (choice.sort == "size") return static_cast<double>(artifact_bytes(manifest));
    if (choice.sort == "pass@1") return row.pass_at_1;
    if (manifest.set) return std::nullopt;
    if (choice.sort == "bits") return bits_per_weight(manifest);
    return row.lineage->mean_relative_loss();
  };
  if (choice.sort == "name") return choice.reverse ? b.ref.name < a.ref.name : a.ref.name < b.ref.name;
  return before(number(a), number(b), choice.reverse);
}

ordered_json to_json(const Row& row) {
  const Manifest& manifest = row.lineage->manifest;
  ordered_json one{{"name", row.ref.name}, {"digest", row.ref.object.hex()}};
  if (manifest.set) {
    one["calibration"] = to_string(manifest.set->kind);
    one["bytes"] = artifact_bytes(manifest);
  } else {
    one["model"] = row.lineage->model_name();
    one["source"] = manifest.source.hex();
    one["method"] = to_string(manifest.recipe.method);
    one["bits"] = nominal_bits(manifest);
    one["bytes"] = artifact_bytes(manifest);
    one["bits_per_weight"] = bits_per_weight(manifest);
    one["mean_relative_loss"] = row.lineage->mean_relative_loss();
    if (row.pass_at_1) {
      one["benchmark"] = row.benchmark;
      one["pass_at_1"] = *row.pass_at_1;
    }
    one["scores"] = ordered_json::array();
    for (const KnownScore& score : row.lineage->scores)
      if (score.pass_at_1)
        one["scores"].push_back({{"benchmark", score.spec.benchmark},
                                 {"language", score.spec.language},
                                 {"tasks", score.tasks},
                                 {"samples", score.spec.samples},
                                 {"temperature", score.spec.temperature},
                                 {"pass_at_1", *score.pass_at_1}});
  }
  one["published_unix_ms"] = row.ref.time_ms;
  if (row.lineage->collected_ms) one["collected_unix_ms"] = *row.lineage->collected_ms;
  return one;
}

}  // namespace

std::string list_artifacts(const ArtifactStore& store, const ListChoice& choice, bool json) {
  if (std::ranges::find(kListSorts, choice.sort) == kListSorts.end())
    throw Error(ErrorCode::bad_input,
                "--sort " + choice.sort + ": expected " + fmt::format("{}", fmt::join(kListSorts, ", ")));
  const Lineages lineages(store);
  std::map<Digest, Lineage> known;  // several names may mean one artifact
  std::vector<Row> rows;
  for (const Ref& ref : lineages.refs()) {
    auto found = known.find(ref.object);
    if (found == known.end()) found = known.emplace(ref.object, lineages.of(ref.object)).first;
    Row row{ref, &found->second, std::nullopt, ""};
    for (const KnownScore& score : found->second.scores)
      if (score.pass_at_1 && !row.pass_at_1 && (choice.benchmark.empty() || score.spec.benchmark == choice.benchmark)) {
        row.pass_at_1 = score.pass_at_1;
        row.benchmark = score.spec.benchmark + (score.spec.language == "python" ? "" : "/" + score.spec.language);
      }
    if (fits(row, choice)) rows.push_back(std::move(row));
  }
  std::ranges::stable_sort(rows, [&](const Row& a, const Row& b) { return before(a, b, choice); });
  if (json) {
    ordered_json all = ordered_json::array();
    for (const Row& row : rows) all.push_back(to_json(row));
    return all.dump(2) + "\n";
  }
  std::string text = fmt::format("{:<36} {:<13} {:<20} {:>10} {:>12} {:>9} {:>7}  {}\n", "name", "digest", "model", "MB",
                                 "bits/weight", "loss", "pass@1", "published (UTC)");
  for (const Row& row : rows) {
    const Manifest& manifest = row.lineage->manifest;
    text += fmt::format("{:<36} {:<13} {:<20} {:>10} {:>12} {:>9} {:>7}  {}{}\n", row.ref.name, row.ref.object.short_hex(),
                        manifest.set ? std::string(kNothing) : row.lineage->model_name(), megabytes(artifact_bytes(manifest)),
                        manifest.set ? "calibration" : fmt::format("{:.3f}", bits_per_weight(manifest)),
                        manifest.losses.empty() ? kNothing : fmt::format("{:.1e}", row.lineage->mean_relative_loss()),
                        row.pass_at_1 ? percent(*row.pass_at_1) : kNothing, utc_text(row.ref.time_ms),
                        row.lineage->collected_ms ? "  weights collected" : "");
  }
  return text;
}

std::string log_of_name(const ArtifactStore& store, const std::string& name, bool json) {
  const std::vector<Ref> history = store.ref_history(name);
  if (history.empty())
    throw Error(ErrorCode::bad_input, "the name " + name + " was never used in " + store.directory().string());
  ordered_json all = ordered_json::array();
  std::string text;
  for (auto entry = history.rbegin(); entry != history.rend(); ++entry) {
    const bool ended = entry->object.is_none();
    const bool collected = !ended && store.has_object(entry->object) && store.get_object(entry->object).collected_ms;
    text += fmt::format("{}  commit {:<8} {}{}\n", utc_text(entry->time_ms), entry->commit,
                        ended ? "ended" : entry->object.short_hex(), collected ? "  weights collected" : "");
    all.push_back({{"digest", ended ? ordered_json(nullptr) : ordered_json(entry->object.hex())},
                   {"unix_ms", entry->time_ms},
                   {"commit", entry->commit},
                   {"collected", collected}});
  }
  return json ? all.dump(2) + "\n" : text;
}

}  // namespace quench::coordinator
