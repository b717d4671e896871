#include "coordinator/repository/description.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "coordinator/report/words.h"
#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

using nlohmann::ordered_json;

std::string layout_text(const TensorRecord& tensor) {
  if (tensor.layout == TensorLayout::packed) return std::to_string(tensor.bits);
  if (tensor.layout == TensorLayout::additive) return fmt::format("{}x{}", tensor.codebooks, tensor.bits);
  return std::string(to_string(tensor.dtype));
}

const char* standing_text(Standing standing) {
  switch (standing) {
    case Standing::trusted:
      return "trusted";
    case Standing::not_signed:
      return "not signed";
    case Standing::unknown_key:
      return "signed by an unknown key";
    default:
      return "bad signature";
  }
}

ordered_json run_to_json(const RunRecord& run) {
  return {{"job_name", run.job_name}, {"quantize_seconds", run.quantize_seconds}, {"ranks", run.ranks},
          {"threads", run.threads},   {"build", run.build},                       {"isa", run.isa},
          {"hosts", run.hosts},       {"finished_unix_ms", run.finished_unix_ms}, {"attempts", run.attempts}};
}

std::string spec_text(const EvaluateSpec& spec) {
  return fmt::format("{} {}, {} sample{}, temperature {}", spec.benchmark, spec.language, spec.samples,
                     spec.samples == 1 ? "" : "s", spec.temperature);
}

std::string windows_text(const Manifest& manifest) {
  return manifest.calibration.is_none() ? "none" : manifest.calibration.short_hex();
}

std::string losses_table(const Manifest& manifest) {
  std::string text =
      fmt::format("\n{:<48} {:>16} {:>8} {:>8} {:>14}\n", "tensor", "shape", "bits", "chunks", "relative loss");
  std::map<std::string_view, double> losses;
  for (const LinearLoss& entry : manifest.losses) losses[entry.tensor] = entry.relative_loss;
  for (const TensorRecord& tensor : manifest.tensors) {
    const auto loss = losses.find(tensor.name);
    text += fmt::format("{:<48} {:>16} {:>8} {:>8} {:>14}\n", tensor.name,
                        fmt::format("{}", fmt::join(tensor.shape, "x")), layout_text(tensor), tensor.chunks.size(),
                        loss == losses.end() ? "" : fmt::format("{:.3e}", loss->second));
  }
  return text;
}

}  // namespace

std::string describe_lineage(const ArtifactStore& store, const std::string& ref, bool json) {
  const Lineages lineages(store);
  const Lineage lineage = lineages.of(store.resolve(ref));
  const Manifest& manifest = lineage.manifest;
  const Judgement judgement = store.judge(lineage.digest);
  if (json) {
    ordered_json out = ordered_json::parse(manifest_to_json(manifest));
    // Beside the manifest, which is the same in every store: what this one knows of it.
    ordered_json known;
    known["digest"] = lineage.digest.hex();
    known["names"] = ordered_json::array();
    for (const Ref& name : lineage.names) known["names"].push_back(name.name);
    known["model"] = lineage.model_name();
    known["job"] = lineage.job ? ordered_json(lineage.job->name) : ordered_json(nullptr);
    known["runs"] = ordered_json::array();
    for (const RunRecord& run : lineage.runs) known["runs"].push_back(run_to_json(run));
    known["scores"] = ordered_json::array();
    for (const KnownScore& score : lineage.scores)
      known["scores"].push_back({{"benchmark", score.spec.benchmark},
                               {"language", score.spec.language},
                               {"samples", score.spec.samples},
                               {"temperature", score.spec.temperature},
                               {"evaluation", score.evaluation.hex()},
                               {"pass_at_1", score.pass_at_1 ? ordered_json(*score.pass_at_1) : ordered_json(nullptr)}});
    known["signature"] = {{"standing", standing_text(judgement.standing)}, {"reason", judgement.reason}};
    if (lineage.collected_ms) known["collected_unix_ms"] = *lineage.collected_ms;
    out["known"] = std::move(known);
    return out.dump(2) + "\n";
  }
  std::string text = fmt::format("digest       {}\nmethod       {}\n", lineage.digest.hex(), derived_name(manifest.recipe));
  for (const Ref& name : lineage.names) text += fmt::format("name         {}  since {}\n", name.name, utc_text(name.time_ms));
  text += fmt::format("source       {}  {}\ncalibration  {}\n", manifest.source.hex(), lineage.job ? lineage.job->model : "",
                      manifest.calibration.is_none() ? "none" : manifest.calibration.hex());
  if (!manifest.calibration_set.is_none()) {
    text += "of the set   " + manifest.calibration_set.hex();
    for (const Ref& one : lineages.refs())
      if (one.object == manifest.calibration_set) text += "  " + one.name;
    text += "\n";
  }
  if (!manifest.endpoint_url.empty())
    text += fmt::format("served at    {}  {}\nwhich names a place: what is served there may change\n",
                        manifest.endpoint_url, manifest.endpoint_model);
  text += fmt::format("size         {} MB, {:.3f} bits per weight\n", megabytes(artifact_bytes(manifest)),
                      bits_per_weight(manifest));
  if (lineage.collected_ms)
    text += fmt::format("weights      collected {}: only this record is left\n", utc_text(*lineage.collected_ms));
  text += fmt::format("signature    {}{}\n", standing_text(judgement.standing),
                      judgement.standing == Standing::not_signed ? "" : ": " + judgement.reason);
  for (const RunRecord& run : lineage.runs)
    text += fmt::format("made         {}  {} s on {} rank{}{} of {} ({}), job {}, build {}\n",
                        utc_text(static_cast<std::uint64_t>(run.finished_unix_ms)), seconds_text(run.quantize_seconds), run.ranks,
                        run.ranks == 1 ? "" : "s", run.threads == 0 ? "" : fmt::format(" x {} threads", run.threads), fmt::join(run.hosts, ", "), run.isa, run.job_name, run.build);
  for (const KnownScore& score : lineage.scores)
    text += fmt::format("pass@1       {}  {}\n", score.pass_at_1 ? percent(*score.pass_at_1) + " %" : "not complete",
                        spec_text(score.spec));
  text += "files       ";
  for (const FileRecord& file : manifest.files) text += " " + file.name;
  return text + "\n" + losses_table(manifest);
}

namespace {

struct Side {
  Lineage lineage;
  ordered_json recipe;
  std::map<std::string, const TensorRecord*> tensors;
  std::map<std::string, double> losses;

  Side(const ArtifactStore& store, const Lineages& lineages, const std::string& ref)
      : lineage(lineages.of(store.resolve(ref))) {
    require_model(lineage.manifest, ref);
    recipe = ordered_json::parse(manifest_to_json(lineage.manifest)).at("recipe");
    for (const TensorRecord& tensor : lineage.manifest.tensors) tensors[tensor.name] = &tensor;
    for (const LinearLoss& loss : lineage.manifest.losses) losses[loss.tensor] = loss.relative_loss;
  }
};

ordered_json recipe_changes(const ordered_json& a, const ordered_json& b) {
  ordered_json changes = ordered_json::array();
  for (const auto& [field, value] : a.items()) {
    const ordered_json other = b.contains(field) ? b[field] : ordered_json(nullptr);
    if (value != other) changes.push_back({{"field", field}, {"a", value}, {"b", other}});
  }
  for (const auto& [field, value] : b.items())
    if (!a.contains(field)) changes.push_back({{"field", field}, {"a", nullptr}, {"b", value}});
  return changes;
}

ordered_json one_tensor(const Side& side, const std::string& name) {
  const auto tensor = side.tensors.find(name);
  if (tensor == side.tensors.end()) return nullptr;
  ordered_json described{{"bits", layout_text(*tensor->second)}, {"group_size", tensor->second->group_size}};
  if (const auto loss = side.losses.find(name); loss != side.losses.end()) described["relative_loss"] = loss->second;
  return described;
}

// The names of both, in the order of the manifests.
std::vector<std::string> tensor_names(const Side& a, const Side& b) {
  std::vector<std::string> names;
  for (const TensorRecord& tensor : a.lineage.manifest.tensors) names.push_back(tensor.name);
  for (const TensorRecord& tensor : b.lineage.manifest.tensors)
    if (!a.tensors.contains(tensor.name)) names.push_back(tensor.name);
  return names;
}

bool same_bytes(const Side& a, const Side& b, const std::string& name) {
  const auto in_a = a.tensors.find(name), in_b = b.tensors.find(name);
  return in_a != a.tensors.end() && in_b != b.tensors.end() && *in_a->second == *in_b->second;
}

ordered_json score_pairs(const Side& a, const Side& b) {
  ordered_json pairs = ordered_json::array();
  for (const KnownScore& one : a.lineage.scores)
    for (const KnownScore& other : b.lineage.scores)
      if (one.spec == other.spec && one.benchmark == other.benchmark && one.pass_at_1 && other.pass_at_1)
        pairs.push_back({{"benchmark", spec_text(one.spec)}, {"a", *one.pass_at_1}, {"b", *other.pass_at_1}});
  return pairs;
}

// Bytes by chunk, each counted once.
std::map<Digest, std::uint64_t> chunk_bytes(const Manifest& manifest) {
  std::map<Digest, std::uint64_t> bytes;
  for (const ChunkRef& chunk : chunks_of(manifest)) bytes[chunk.digest] = chunk.bytes;
  return bytes;
}

}  // namespace

std::string describe_difference(const ArtifactStore& store, const std::string& ref_a, const std::string& ref_b, bool json) {
  const Lineages lineages(store);
  const Side a(store, lineages, ref_a), b(store, lineages, ref_b);
  const ordered_json recipe = recipe_changes(a.recipe, b.recipe), scores = score_pairs(a, b);
  ordered_json changed = ordered_json::array();
  std::uint64_t same = 0, shared_bytes = 0;
  for (const std::string& name : tensor_names(a, b)) {
    if (same_bytes(a, b, name)) {
      ++same;
    } else {
      changed.push_back({{"tensor", name}, {"a", one_tensor(a, name)}, {"b", one_tensor(b, name)}});
    }
  }
  const auto in_b = chunk_bytes(b.lineage.manifest);
  for (const auto& [digest, bytes] : chunk_bytes(a.lineage.manifest))
    if (in_b.contains(digest)) shared_bytes += bytes;
  const bool same_source = a.lineage.manifest.source == b.lineage.manifest.source;
  const bool same_calibration = a.lineage.manifest.calibration == b.lineage.manifest.calibration;
  if (json)
    return ordered_json{{"a", a.lineage.digest.hex()},
                        {"b", b.lineage.digest.hex()},
                        {"same_source", same_source},
                        {"same_calibration", same_calibration},
                        {"recipe", recipe},
                        {"tensors_same", same},
                        {"tensors_changed", changed},
                        {"bytes_a", artifact_bytes(a.lineage.manifest)},
                        {"bytes_b", artifact_bytes(b.lineage.manifest)},
                        {"bytes_shared", shared_bytes},
                        {"scores", scores}}
               .dump(2) +
           "\n";
  if (a.lineage.digest == b.lineage.digest) return "the same artifact, " + a.lineage.digest.hex() + "\n";
  std::string text = fmt::format("a  {}  {}\nb  {}  {}\nsource       {}\ncalibration  {}\n", a.lineage.digest.short_hex(), ref_a,
                                 b.lineage.digest.short_hex(), ref_b, same_source ? "the same" : "different models",
                                 same_calibration ? "the same windows" : windows_text(a.lineage.manifest) + " -> " + windows_text(b.lineage.manifest));
  for (const auto& change : recipe)
    text += fmt::format("recipe       {}: {} -> {}\n", change["field"].get<std::string>(), change["a"].dump(), change["b"].dump());
  text += fmt::format("size         {} MB -> {} MB, {} MB shared\ntensors      {} the same, {} different\n",
                      megabytes(artifact_bytes(a.lineage.manifest)), megabytes(artifact_bytes(b.lineage.manifest)),
                      megabytes(shared_bytes), same, changed.size());
  const auto cell = [](const ordered_json& side) {
    if (side.is_null()) return std::string(kNothing);
    return side["bits"].get<std::string>() +
           (side.contains("relative_loss") ? fmt::format("  {:.3e}", side["relative_loss"].get<double>()) : "");
  };
  for (const auto& change : changed)
    text += fmt::format("  {:<48} {:>18} -> {:>18}\n", change["tensor"].get<std::string>(), cell(change["a"]), cell(change["b"]));
  for (const auto& pair : scores)
    text += fmt::format("pass@1       {}: {} % -> {} % ({} points)\n", pair["benchmark"].get<std::string>(),
                        percent(pair["a"].get<double>()), percent(pair["b"].get<double>()),
                        points(pair["b"].get<double>() - pair["a"].get<double>()));
  if (!scores.empty()) text += fmt::format("whether that is more than chance: quench compare {} {}\n", ref_a, ref_b);
  return text;
}

namespace {

// What of a model a chunk belongs to; artifacts of one model are expected to share all but the linears.
const char* part_of(const Manifest& manifest, const TensorRecord& tensor) {
  if (tensor.name.find("embed") != std::string::npos) return "embeddings";
  if (tensor.name.find("lm_head") != std::string::npos) return "head";
  if (tensor.name.find("norm") != std::string::npos) return "norms";
  return tensor.layout == TensorLayout::raw && manifest.recipe.method != Method::none ? "other" : "linears";
}

}  // namespace

std::string describe_sharing(const ArtifactStore& store, std::vector<std::string> refs, bool json) {
  if (refs.empty())
    for (const Ref& ref : store.list_refs()) refs.push_back(ref.name);
  struct Part {
    std::uint64_t apart = 0, together = 0;
  };
  struct Owner {
    std::string name;
    std::uint64_t bytes = 0, own = 0;
  };
  std::map<std::string, Part> parts;
  std::map<Digest, std::pair<std::uint64_t, std::set<std::size_t>>> owners_of;  // bytes, who has the chunk
  std::map<Digest, std::size_t> seen;
  std::vector<Owner> owners;
  for (const std::string& ref : refs) {
    const Digest digest = store.resolve(ref);
    if (!seen.emplace(digest, owners.size()).second) continue;
    const StoredObject object = store.get_object(digest);
    const Manifest manifest = decode_manifest(object.bytes);
    if (object.collected_ms) continue;
    const std::size_t index = owners.size();
    owners.push_back({ref});
    const auto count = [&](const char* part, const ChunkRef& chunk) {
      if (chunk.digest.is_none()) return;
      auto& [bytes, who] = owners_of[chunk.digest];
      if (!who.insert(index).second) return;  // twice in one artifact is kept once as well
      bytes = chunk.bytes;
      parts[part].apart += chunk.bytes;
      if (who.size() == 1) parts[part].together += chunk.bytes;
      owners[index].bytes += chunk.bytes;
    };
    for (const FileRecord& file : manifest.files) count("files", file.chunk);
    for (const TensorRecord& tensor : manifest.tensors) {
      const char* part = manifest.set ? "calibration" : part_of(manifest, tensor);
      for (const ChunkRef& chunk : tensor.chunks) count(part, chunk);
      count(part, tensor.permutation);
    }
  }
  Part all;
  for (const auto& [name, part] : parts) {
    all.apart += part.apart;
    all.together += part.together;
  }
  for (const auto& [digest, entry] : owners_of)
    if (entry.second.size() == 1) owners[*entry.second.begin()].own += entry.first;
  const double saved = all.apart == 0 ? 0 : 1.0 - static_cast<double>(all.together) / static_cast<double>(all.apart);
  if (json) {
    ordered_json out{{"artifacts", owners.size()}, {"bytes_apart", all.apart}, {"bytes_together", all.together}, {"saved", saved}};
    for (const auto& [name, part] : parts) out["parts"][name] = {{"bytes_apart", part.apart}, {"bytes_together", part.together}};
    out["each"] = ordered_json::array();
    for (const Owner& owner : owners) out["each"].push_back({{"name", owner.name}, {"bytes", owner.bytes}, {"own_bytes", owner.own}});
    return out.dump(2) + "\n";
  }
  std::string text = fmt::format("{} artifacts: {} MB apart, {} MB together: {} % saved\n\n{:<14} {:>12} {:>12}\n", owners.size(),
                                 megabytes(all.apart), megabytes(all.together), percent(saved), "part", "MB apart", "MB together");
  for (const auto& [name, part] : parts)
    text += fmt::format("{:<14} {:>12} {:>12}\n", name, megabytes(part.apart), megabytes(part.together));
  text += fmt::format("\n{:<44} {:>12} {:>12}\n", "artifact", "MB", "its own MB");
  for (const Owner& owner : owners) text += fmt::format("{:<44} {:>12} {:>12}\n", owner.name, megabytes(owner.bytes), megabytes(owner.own));
  return text;
}

}  // namespace quench::coordinator
