#include "coordinator/calibration_sets.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>

#include "coordinator/report/words.h"
#include "coordinator/repository/publication.h"
#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

Bytes read_bounded(const fs::path& file, std::uint64_t bytes_max) {
  std::error_code error;
  const std::uintmax_t size = fs::file_size(file, error);
  if (error || size > bytes_max)
    throw Error(ErrorCode::corrupt,
                file.string() + (error ? " cannot be read" : " is larger than such a file can be"));
  std::ifstream in(file, std::ios::binary);
  Bytes bytes((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (bytes.size() != size) throw Error(ErrorCode::corrupt, file.string() + " cannot be read");
  return bytes;
}

struct FoundSet {
  std::string name;
  Digest digest;
  std::uint64_t time_ms = 0;
  Manifest manifest;
};

std::vector<FoundSet> named_sets(const ArtifactStore& store) {
  std::vector<FoundSet> found;
  for (const Ref& ref : store.list_refs()) {
    Manifest manifest = decode_manifest(store.get_object(ref.object).bytes);
    if (manifest.set) found.push_back({ref.name, ref.object, ref.time_ms, std::move(manifest)});
  }
  return found;
}

// The file that the engine reads a model's tokenizer from.
Digest tokenizer_digest(const fs::path& model) {
  for (const char* name : {"tokenizer.json", "tokenizer.model"})
    if (fs::is_regular_file(model / name)) return sha256_file(model / name);
  throw Error(ErrorCode::bad_input, model.string() + " has neither tokenizer.json nor tokenizer.model");
}

std::string wanted_text(const CalibrationSpec& spec) {
  return fmt::format("{}, {} sequences of {} tokens, seed {}", to_string(spec.kind), spec.sequences,
                     spec.length, spec.seed);
}

std::string build_command(const CalibrationSpec& spec, const std::string& model) {
  return fmt::format(
      "quench calibration build --kind {} --from … --tokenizer {} --sequences {} --length {} --seed {}",
      to_string(spec.kind), model, spec.sequences, spec.length, spec.seed);
}

Digest find_by_kind(const ArtifactStore& store, const CalibrationSpec& spec, const std::string& model) {
  const Digest tokenizer = tokenizer_digest(model);
  std::map<Digest, std::string> fitting;
  bool other_tokenizer = false;
  for (const FoundSet& set : named_sets(store)) {
    const CalibrationRecord& record = *set.manifest.set;
    if (record.kind != spec.kind || record.sequences != spec.sequences || record.length != spec.length ||
        record.seed != spec.seed)
      continue;
    if (record.tokenizer == tokenizer) {
      fitting.emplace(set.digest, set.name);
    } else {
      other_tokenizer = true;
    }
  }
  if (fitting.size() == 1) return fitting.begin()->first;
  if (fitting.empty())
    throw Error(ErrorCode::bad_input, "the store has no calibration set that fits (" + wanted_text(spec) +
                                          ")" + (other_tokenizer ? " and this model's tokenizer" : "") +
                                          ": make one with " + build_command(spec, model));
  std::string names;
  for (const auto& [digest, name] : fitting) names += (names.empty() ? "" : ", ") + name;
  throw Error(ErrorCode::bad_input, "the store has several calibration sets that fit (" + wanted_text(spec) +
                                        "): " + names + ": name one as \"calibration\": {\"set\": …}");
}

Bytes tensor_bytes(const ArtifactStore& store, const Manifest& manifest, std::string_view name) {
  Bytes bytes;
  for (const ChunkRef& chunk : tensor_named(manifest, name).chunks) {
    const Bytes part = store.get_chunk(chunk.digest);
    bytes.insert(bytes.end(), part.begin(), part.end());
  }
  return bytes;
}

// How many documents each licence has.
std::map<std::string, std::uint64_t> licences_of(const std::string& lines) {
  std::map<std::string, std::uint64_t> counts;
  std::istringstream in(lines);
  for (std::string line; std::getline(in, line);) {
    const auto object = nlohmann::json::parse(line, nullptr, false);
    const bool has_licence =
        object.is_object() && object.contains("licence") && object["licence"].is_string();
    ++counts[has_licence ? object["licence"].get<std::string>() : "unknown"];
  }
  return counts;
}

// What others wrote never reaches a terminal with control characters.
std::string printable(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return text;
}

}  // namespace

Digest adopt_set(ArtifactStore& store, const fs::path& directory, const std::string& name,
                 std::uint64_t now_ms) {
  const Bytes bytes = read_bounded(directory / "manifest", kManifestBytesMax);
  const Manifest manifest = decode_manifest(bytes);
  require_set(manifest, name);
  if (const std::optional<Ref> before = store.find_ref(name);
      before && !before->object.is_none() && !decode_manifest(store.get_object(before->object).bytes).set)
    throw Error(ErrorCode::bad_input, "the name " + name + " is a model's: give the set another with --name");
  for (const ChunkRef& chunk : chunks_of(manifest)) {
    const Bytes content = read_bounded(directory / "chunks" / chunk.digest.hex(), kChunkBytesMax);
    if (content.size() != chunk.bytes)
      throw Error(ErrorCode::corrupt,
                  "chunk " + chunk.digest.short_hex() + " has another size than its set says");
    store.put_chunk(chunk.digest, content);
  }
  Commit commit;
  const Digest digest = add_published(commit, name, manifest, bytes, now_ms);
  store.commit(commit);
  return digest;
}

JobSpec with_calibration_set(const ArtifactStore& store, JobSpec job) {
  CalibrationSpec& spec = job.calibration;
  if (!spec.is_set()) return job;
  in_context("calibration", [&] {
    const Digest digest = spec.set.empty() ? find_by_kind(store, spec, job.model) : store.resolve(spec.set);
    const Manifest manifest = decode_manifest(store.get_object(digest).bytes);
    const CalibrationRecord& record = require_set(manifest, spec.set.empty() ? digest.short_hex() : spec.set);
    if (record.tokenizer != tokenizer_digest(job.model))
      throw Error(ErrorCode::bad_input, "the set " + spec.set +
                                            " was made with another tokenizer than that of " + job.model +
                                            ": build one with --tokenizer " + job.model);
    // A written job names these beside its set.
    if (spec.kind != CalibrationKind::files && spec.kind != record.kind)
      throw Error(ErrorCode::bad_input, fmt::format("the set {} is of the kind {}, not {}: leave \"kind\" or \"set\" out", spec.set,
                                                    to_string(record.kind), to_string(spec.kind)));
    if (spec.seed != 0 && spec.seed != record.seed)
      throw Error(ErrorCode::bad_input, fmt::format("the set {} was made with the seed {}, not {}: leave \"seed\" or \"set\" out", spec.set,
                                                    record.seed, spec.seed));
    if (spec.sequences > record.sequences || spec.length > record.length)
      throw Error(ErrorCode::bad_input, fmt::format("the set {} has {} sequences of {} tokens; the job asks "
                                                    "for {} of {}: ask for no more, or build a larger set",
                                                    spec.set, record.sequences, record.length,
                                                    spec.sequences == 0 ? record.sequences : spec.sequences,
                                                    spec.length == 0 ? record.length : spec.length));
    if (spec.sequences == 0) spec.sequences = record.sequences;
    if (spec.length == 0) spec.length = record.length;
    spec.kind = record.kind;
    spec.seed = record.seed;
    spec.set = digest.hex();
  });
  return job;
}

std::string list_sets(const ArtifactStore& store, bool json) {
  ordered_json all = ordered_json::array();
  std::string text = fmt::format("{:<44} {:<13} {:<7} {:>9} {:>7} {:>6} {:>8}  {}\n", "name", "digest",
                                 "kind", "sequences", "length", "seed", "MB", "made (UTC)");
  for (const FoundSet& set : named_sets(store)) {
    const CalibrationRecord& record = *set.manifest.set;
    text += fmt::format("{:<44} {:<13} {:<7} {:>9} {:>7} {:>6} {:>8}  {}\n", set.name, set.digest.short_hex(),
                        to_string(record.kind), record.sequences, record.length, record.seed,
                        megabytes(artifact_bytes(set.manifest)), utc_text(set.time_ms));
    all.push_back({{"name", set.name},
                   {"digest", set.digest.hex()},
                   {"calibration", to_string(record.kind)},
                   {"sequences", record.sequences},
                   {"length", record.length},
                   {"seed", record.seed},
                   {"bytes", artifact_bytes(set.manifest)},
                   {"published_unix_ms", set.time_ms}});
  }
  return json ? all.dump(2) + "\n" : text;
}

std::string show_set(const ArtifactStore& store, const std::string& ref, bool documents, bool json) {
  const Digest digest = store.resolve(ref);
  const Manifest manifest = decode_manifest(store.get_object(digest).bytes);
  const CalibrationRecord& record = require_set(manifest, ref);
  const Bytes lines_bytes = tensor_bytes(store, manifest, kSetDocuments);
  const std::string lines(lines_bytes.begin(), lines_bytes.end());
  if (documents) return lines;
  const std::map<std::string, std::uint64_t> licences = licences_of(lines);
  if (json) {
    ordered_json out{{"digest", digest.hex()},
                     {"calibration", to_string(record.kind)},
                     {"sequences", record.sequences},
                     {"length", record.length},
                     {"seed", record.seed},
                     {"tokenizer", record.tokenizer.hex()},
                     {"windows", record.windows.hex()},
                     {"files_per_repository", record.files_per_repository},
                     {"score_min", record.score_min},
                     {"benchmarks", record.benchmarks.hex()},
                     {"documents_read", record.documents_read},
                     {"documents_used", record.documents_used},
                     {"left_out", ordered_json::object()},
                     {"licences", licences},
                     {"bytes", artifact_bytes(manifest)}};
    for (const LeftOut& one : record.left_out) out["left_out"][one.reason] = one.documents;
    return out.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
  }
  std::string text = fmt::format(
      "digest       {}\ncalibration  {}: {} sequences of {} tokens, seed {}\ntokenizer    {}\nwindows      "
      "{}\n",
      digest.hex(), to_string(record.kind), record.sequences, record.length, record.seed,
      record.tokenizer.hex(), record.windows.hex());
  text +=
      fmt::format("documents    {} read, {} used; left out:\n", record.documents_read, record.documents_used);
  for (const LeftOut& one : record.left_out)
    text += fmt::format("{:>13} {}\n", one.documents, printable(one.reason));
  text += "licences of what is used (`--documents` gives each document's origin):\n";
  for (const auto& [licence, count] : licences) text += fmt::format("{:>13} {}\n", count, printable(licence));
  return text;
}

}  // namespace quench::coordinator
