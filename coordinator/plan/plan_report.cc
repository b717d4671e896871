#include "coordinator/plan/plan_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "schemas/codec.h"

namespace quench::coordinator {
namespace {

using nlohmann::ordered_json;

constexpr double kMega = 1e6, kGiga = 1e9;

// 3.2 s, 4 min 10 s, 2 h 5 min.
std::string duration(double seconds) {
  if (seconds < 100) return fmt::format("{:.{}f} s", seconds, seconds < 10 ? 2 : 1);
  const auto whole = static_cast<long long>(seconds + 0.5);
  if (whole < 3600) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return fmt::format("{} h {} min", whole / 3600, whole % 3600 / 60);
}

std::string energy(const Prediction& prediction) {
  return prediction.joules ? fmt::format("{:.4g} kWh ({})", *prediction.joules / 3.6e6, prediction.energy_note)
                           : prediction.energy_note;
}

ordered_json or_null(const std::optional<double>& value) { return value ? ordered_json(*value) : ordered_json(nullptr); }

ordered_json machine_json(const MachineProfile& profile) {
  return {{"host", profile.host},       {"cpu", profile.cpu},       {"date", profile.date},
          {"build", profile.build},     {"backend", profile.backend}, {"ranks_of_host", profile.ranks},
          {"threads", profile.threads}, {"is_measured", profile.is_measured}, {"origin", profile.origin}};
}

ordered_json steps_json(const std::vector<StepTime>& steps) {
  ordered_json out = ordered_json::object();
  for (const StepTime& step : steps) out[step.step] = step.seconds;
  return out;
}

ordered_json prediction_json(const Prediction& prediction) {
  ordered_json out{{"ranks", prediction.ranks},
                   {"hosts", prediction.hosts},
                   {"seconds", prediction.seconds},
                   {"start_s", prediction.start_s},
                   {"quantize_s", prediction.quantize_s},
                   {"rank_hours", prediction.rank_hours},
                   {"memory_bytes_per_rank", prediction.memory_bytes},
                   {"joules", or_null(prediction.joules)},
                   {"energy_note", prediction.energy_note},
                   {"notes", prediction.notes}};
  out["artifacts"] = ordered_json::array();
  for (const ArtifactPrediction& artifact : prediction.artifacts)
    out["artifacts"].push_back({{"name", artifact.name},
                                {"seconds", artifact.seconds},
                                {"steps_s", steps_json(artifact.steps)},
                                {"memory_bytes_per_rank", artifact.memory_bytes},
                                {"traffic_bytes_per_rank", artifact.traffic_bytes}});
  out["evaluations"] = ordered_json::array();
  for (const EvaluationPrediction& evaluation : prediction.evaluations)
    out["evaluations"].push_back({{"artifact", evaluation.artifact},
                                  {"evaluation", evaluation.evaluation},
                                  {"seconds", or_null(evaluation.seconds)},
                                  {"seconds_max", evaluation.seconds_max}});
  return out;
}

std::string machine_text(const MachineProfile& profile) {
  return profile.is_measured ? fmt::format("{} ({}), {} ranks of {} threads, {}, build {}, {} on {}", profile.host,
                                           profile.cpu, profile.ranks, profile.threads, profile.backend, profile.build,
                                           profile.origin, profile.date)
                             : fmt::format("{}; predicted, not measured: {}", profile.cpu, profile.origin);
}

std::string prediction_text(const Prediction& prediction, const MachineProfile& profile) {
  std::string text = "\n  predicted on " + machine_text(profile) + "\n";
  for (const ArtifactPrediction& artifact : prediction.artifacts) {
    text += fmt::format("    {:<28} {:>12}  ", artifact.name, duration(artifact.seconds));
    for (const StepTime& step : artifact.steps) text += fmt::format(" {} {},", step.step, duration(step.seconds));
    text.back() = '\n';
  }
  for (const EvaluationPrediction& one : prediction.evaluations)
    text += fmt::format("    {:<28} {:>12}   {}{}\n", one.artifact, duration(one.seconds.value_or(one.seconds_max)),
                        one.evaluation, one.seconds ? ", at most " + duration(one.seconds_max) : "");
  text += fmt::format("    {:<28} {:>12}\n", "start", duration(prediction.start_s));
  text += fmt::format("    {:<28} {:>12}   {:.4g} {}-hours on {} ranks\n", "all", duration(prediction.seconds),
                      prediction.rank_hours, profile.is_measured ? "rank" : "GPU", prediction.ranks);
  text += "    energy  " + energy(prediction) + "\n";
  for (const std::string& note : prediction.notes) text += "    note: " + note + "\n";
  return text;
}

}  // namespace

std::string plan_to_json(const JobSpec& job, const Plan& plan, const BlockCounts& largest, const Prediction* prediction,
                         const MachineProfile* profile) {
  ordered_json out;
  out["job"] = {{"name", job.name}, {"model", job.model}, {"ranks", job.ranks}};
  out["blocks"] = plan.config.layers;
  out["linear_weights"] = plan.linear_weights;
  out["calibration_tokens"] = plan.calibration_tokens;
  out["memory_bytes_per_rank"] = largest.memory_bytes;
  out["mpi_bytes_per_rank"] = largest.traffic.bytes * plan.config.layers;
  out["store_bytes"] = plan.store_bytes;
  out["artifacts"] = ordered_json::array();
  for (const ArtifactPlan& artifact : plan.artifacts)
    out["artifacts"].push_back({{"name", artifact.recipe.name},
                                {"bytes", artifact.artifact_bytes},
                                {"bits_per_weight", artifact.bits_per_weight},
                                {"tiles", artifact.tiles}});
  // What the job asks for with every default and the protocol filled in.
  const ordered_json resolved = ordered_json::parse(job_to_json(job));
  if (!job.protocol.empty()) out["protocol"] = job.protocol;
  out["evaluate"] = resolved.at("evaluate");
  if (prediction != nullptr) {
    out["machine"] = machine_json(*profile);
    out["predicted"] = prediction_json(*prediction);
  }
  return out.dump(2) + "\n";
}

std::string plan_to_text(const JobSpec& job, const Plan& plan, const BlockCounts& largest, const Prediction* prediction,
                         const MachineProfile* profile) {
  std::string text =
      fmt::format("{}: {} blocks, {:.2f} M weights in linears, {} ranks\n", job.name, plan.config.layers,
                  static_cast<double>(plan.linear_weights) / 1e6, job.ranks);
  text += fmt::format("  memory per rank  {:10.1f} MB at most while quantizing\n", largest.memory_bytes / kMega);
  text += fmt::format("  link of a rank   {:10.1f} MB for each calibrated artifact\n",
                      largest.traffic.bytes * plan.config.layers / kMega);
  text += fmt::format("  store            {:10.1f} MB\n\n", static_cast<double>(plan.store_bytes) / kMega);
  text += fmt::format("  {:<28} {:>10} {:>12} {:>8}\n", "artifact", "MB", "bits/weight", "tiles");
  for (const ArtifactPlan& artifact : plan.artifacts)
    text += fmt::format("  {:<28} {:>10.2f} {:>12.3f} {:>8}\n", artifact.recipe.name,
                        static_cast<double>(artifact.artifact_bytes) / kMega, artifact.bits_per_weight,
                        artifact.tiles);
  if (!job.evaluate.empty())
    text += "\n  evaluations" + (job.protocol.empty() ? std::string() : ", protocol " + job.protocol) + "\n";
  for (const EvaluateSpec& spec : job.evaluate) text += "    " + described(spec) + "\n";
  if (prediction != nullptr) text += prediction_text(*prediction, *profile);
  return text;
}

std::string scaling_to_json(const JobSpec& job, const std::vector<Prediction>& rows, const MachineProfile& profile) {
  ordered_json out{{"job", {{"name", job.name}, {"model", job.model}}}, {"machine", machine_json(profile)}};
  out["rows"] = ordered_json::array();
  for (const Prediction& row : rows) out["rows"].push_back(prediction_json(row));
  return out.dump(2) + "\n";
}

std::string scaling_to_text(const JobSpec& job, const std::vector<Prediction>& rows, const MachineProfile& profile) {
  std::string text = fmt::format("{} on {}\n", job.name, machine_text(profile));
  text += fmt::format("  {:>6} {:>6} {:>14} {:>9} {:>12} {:>14} {:>14} {:>12}\n", "ranks", "hosts", "time", "speed-up",
                      "rank-hours", "memory/rank GB", "link/rank GB", "energy kWh");
  for (const Prediction& row : rows) {
    double traffic = 0;
    for (const ArtifactPrediction& artifact : row.artifacts) traffic += artifact.traffic_bytes;
    text += fmt::format("  {:>6} {:>6} {:>14} {:>9.2f} {:>12.3f} {:>14.2f} {:>14.2f} {:>12}\n", row.ranks, row.hosts,
                        duration(row.seconds), rows.front().seconds / row.seconds, row.rank_hours,
                        row.memory_bytes / kGiga, traffic / kGiga,
                        row.joules ? fmt::format("{:.3g}", *row.joules / 3.6e6) : "-");
  }
  text += "  energy: " + rows.front().energy_note + "\n";
  for (const Prediction& row : rows)
    for (const std::string& note : row.notes)
      if (text.find(note) == std::string::npos) text += "  note: " + note + "\n";
  return text;
}

}  // namespace quench::coordinator
