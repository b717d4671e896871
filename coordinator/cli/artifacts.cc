#include "coordinator/cli/artifacts.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cluster/net/endpoint.h"
#include "cluster/net/handshake.h"
#include "coordinator/calibration_sets.h"
#include "coordinator/cli/calibration.h"
#include "coordinator/clock.h"
#include "coordinator/export/export.h"
#include "coordinator/import/import.h"
#include "coordinator/kept_completions.h"
#include "coordinator/report/words.h"
#include "coordinator/store_client.h"
#include "coordinator/transfer.h"
#include "schemas/codec.h"

namespace quench::coordinator {
namespace {

using nlohmann::ordered_json;

std::string list(const ArtifactStore& store, bool json) {
  ordered_json all = ordered_json::array();
  std::string text = fmt::format("{:<36} {:<13} {:>10} {:>12}  {}\n", "name", "digest", "MB", "bits/weight",
                                 "published (UTC)");
  for (const Ref& ref : store.list_refs()) {
    const Manifest manifest = decode_manifest(store.get_object(ref.object).bytes);
    if (manifest.set) {
      text += fmt::format("{:<36} {:<13} {:>10} {:>12}  {}\n", ref.name, ref.object.short_hex(), megabytes(artifact_bytes(manifest)),
                          "calibration", utc_text(ref.time_ms));
      all.push_back({{"name", ref.name},
                     {"digest", ref.object.hex()},
                     {"calibration", to_string(manifest.set->kind)},
                     {"bytes", artifact_bytes(manifest)},
                     {"published_unix_ms", ref.time_ms}});
      continue;
    }
    text +=
        fmt::format("{:<36} {:<13} {:>10} {:>12.3f}  {}\n", ref.name, ref.object.short_hex(),
                    megabytes(artifact_bytes(manifest)), bits_per_weight(manifest), utc_text(ref.time_ms));
    all.push_back({{"name", ref.name},
                   {"digest", ref.object.hex()},
                   {"method", to_string(manifest.recipe.method)},
                   {"bits", nominal_bits(manifest)},
                   {"bytes", artifact_bytes(manifest)},
                   {"bits_per_weight", bits_per_weight(manifest)},
                   {"published_unix_ms", ref.time_ms}});
  }
  return json ? all.dump(2) + "\n" : text;
}

std::string show(const ArtifactStore& store, const std::string& ref, bool json) {
  const Digest digest = store.resolve(ref);
  const Manifest manifest = decode_manifest(store.get_object(digest).bytes);
  if (json) return manifest_to_json(manifest) + "\n";
  if (manifest.set) return show_set(store, ref, false, false);
  std::string text = fmt::format("digest       {}\nmethod       {}\nsource       {}\ncalibration  {}\n",
                                 digest.hex(), derived_name(manifest.recipe), manifest.source.hex(),
                                 manifest.calibration.is_none() ? "none" : manifest.calibration.hex());
  if (!manifest.calibration_set.is_none()) {
    text += "of the set   " + manifest.calibration_set.hex();
    for (const Ref& one : store.list_refs())
      if (one.object == manifest.calibration_set) text += "  " + one.name;
    text += "\n";
  }
  if (!manifest.endpoint_url.empty())
    text += fmt::format("served at    {}  {}\nwhich names a place: what is served there may change\n",
                        manifest.endpoint_url, manifest.endpoint_model);
  text += fmt::format("size         {} MB, {:.3f} bits per weight\n", megabytes(artifact_bytes(manifest)),
                      bits_per_weight(manifest));
  text += "files       ";
  for (const FileRecord& file : manifest.files) text += " " + file.name;
  text += fmt::format("\n\n{:<48} {:>16} {:>8} {:>8} {:>14}\n", "tensor", "shape", "bits", "chunks",
                      "relative loss");
  for (const TensorRecord& tensor : manifest.tensors) {
    std::string loss;
    for (const LinearLoss& entry : manifest.losses)
      if (entry.tensor == tensor.name) loss = fmt::format("{:.3e}", entry.relative_loss);
    text += fmt::format("{:<48} {:>16} {:>8} {:>8} {:>14}\n", tensor.name,
                        fmt::format("{}", fmt::join(tensor.shape, "x")),
                        tensor.layout == TensorLayout::packed     ? std::to_string(tensor.bits)
                        : tensor.layout == TensorLayout::additive ? fmt::format("{}x{}", tensor.codebooks, tensor.bits)
                                                                  : std::string(to_string(tensor.dtype)),
                        tensor.chunks.size(), loss);
  }
  return text;
}

// Beside and renamed: what stands under the name is whole.
void write_file_whole(const std::filesystem::path& file, const std::string& text) {
  const std::filesystem::path partial = file.string() + ".partial";
  std::ofstream out(partial, std::ios::binary | std::ios::trunc);
  out << text << std::flush;
  std::error_code error;
  if (out) std::filesystem::rename(partial, file, error);
  if (out && !error) return;
  std::filesystem::remove(partial, error);
  throw Error(ErrorCode::bad_input, "cannot write " + file.string() + ": name a file in a directory with room");
}

// Objects are manifests; one that does not decode is unverifiable rather than corrupt: its digest fits.
ObjectOpinion check_manifest(const StoredObject& object) {
  try {
    decode_manifest(object.bytes);
    return {};
  } catch (const Error& error) {
    return {ObjectOpinion::Kind::unverifiable, error.what()};
  }
}

int verify(const ArtifactStore& store, bool json, std::string& out) {
  const VerifyReport report = store.verify(check_manifest);
  if (json) {
    out = ordered_json{{"chunks", report.chunks},
                       {"chunk_bytes", report.chunk_bytes},
                       {"objects", report.objects},
                       {"refs", report.refs},
                       {"events", report.events},
                       {"results", report.results},
                       {"corrupt", report.corrupt},
                       {"untrusted", report.untrusted},
                       {"unverifiable", report.unverifiable},
                       {"findings", report.findings}}
              .dump(2) +
          "\n";
  } else {
    out = fmt::format("checked {} chunks ({} MB), {} objects, {} names, {} journal events, {} results\n",
                      report.chunks, megabytes(report.chunk_bytes), report.objects, report.refs,
                      report.events, report.results);
    for (const std::string& finding : report.findings) out += finding + "\n";
    out += report.exit_status() == 0 ? "everything has its digest\n"
                                     : fmt::format("{} corrupt, {} untrusted, {} unverifiable\n",
                                                   report.corrupt, report.untrusted, report.unverifiable);
  }
  return report.exit_status();
}

std::string transferred_text(const Transferred& done, bool json) {
  if (json)
    return ordered_json{{"name", done.name},
                        {"digest", done.digest.hex()},
                        {"chunks", done.chunks},
                        {"chunks_copied", done.chunks_copied},
                        {"bytes_copied", done.bytes_copied}}
               .dump(2) +
           "\n";
  return fmt::format("{}  {}: {} of {} chunks copied ({} MB)\n", done.name, done.digest.short_hex(), done.chunks_copied, done.chunks,
                     megabytes(done.bytes_copied));
}

std::string imported_text(const ImportedModel& done, const std::string& name, bool json) {
  if (json)
    return ordered_json{{"name", name}, {"digest", done.digest.hex()}, {"format", done.format}, {"linears", done.linears}, {"not_quantized", done.left}}
               .dump(2) +
           "\n";
  return fmt::format("{}  {}: {}, {} linears of which {} not quantized\n", name, done.digest.short_hex(), done.format, done.linears, done.left);
}

int dispatch(ArtifactStore& store, const std::vector<std::string>& arguments, std::string& out) {
  CLI::App app{"artifacts of a store", "quench artifacts"};
  app.require_subcommand(1);
  bool json = false;
  std::string ref, format, to, from, as, method, out_file, settings_file;
  CompletionsChoice choice;
  CLI::App* ls_command = app.add_subcommand("ls", "names with digest, size and bits");
  CLI::App* show_command = app.add_subcommand("show", "one artifact: recipe, tensors, losses");
  show_command->add_option("ref", ref, "name, digest or unique digest prefix")->required();
  CLI::App* verify_command = app.add_subcommand("verify", "read everything and check every digest");
  CLI::App* export_command = app.add_subcommand("export", "write an artifact in another tool's format");
  export_command->add_option("ref", ref, "name, digest or unique digest prefix")->required();
  export_command->add_option("--format", format, export_format_names())->required();
  export_command->add_option("--to", to, "directory to make")->required();
  CLI::App* import_command = app.add_subcommand("import", "take in a model that was quantized elsewhere");
  import_command->add_option("directory", from, "its directory: GPTQ, AWQ, AQLM, compressed-tensors or plain safetensors")->required();
  import_command->add_option("--name", as, "its name in the store")->required();
  import_command->add_option("--method", method, "what found the codes, where the format does not say: rtn, gptq, awq");
  import_command->add_flag("--json", json);
  CLI::App* completions_command =
      app.add_subcommand("completions", "the kept completions, as JSON lines that `quench grade` takes");
  completions_command->add_option("ref", ref, "name, digest or unique digest prefix")->required();
  completions_command->add_option("--benchmark", choice.benchmark);
  completions_command->add_option("--evaluation", choice.evaluation, "prefix of an evaluation's digest");
  completions_command->add_option("--settings", settings_file, "job file to write: the evaluation's settings");
  completions_command->add_option("--out", out_file, "file to write; default: stdout");
  CLI::App* push_command = app.add_subcommand("push", "copy an artifact or a calibration set to another store");
  push_command->add_option("--to", to, "the other store's directory")->required();
  CLI::App* pull_command = app.add_subcommand("pull", "copy an artifact or a calibration set from another store");
  pull_command->add_option("--from", from, "the other store's directory")->required();
  for (CLI::App* command : {push_command, pull_command}) {
    command->add_option("ref", ref, "name, digest or unique digest prefix")->required();
    command->add_option("--as", as, "its name in the receiving store; default: the name it has");
  }
  for (CLI::App* command : {ls_command, show_command, verify_command, push_command, pull_command}) command->add_flag("--json", json);
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    std::ostringstream text, problem;
    const int code = app.exit(error, text, problem);
    if (code == 0) {
      out = text.str();
      return 0;
    }
    throw Error(ErrorCode::bad_input, problem.str());
  }
  if (ls_command->parsed()) out = list(store, json);
  if (show_command->parsed()) out = show(store, ref, json);
  if (verify_command->parsed()) return verify(store, json, out);
  if (completions_command->parsed()) {
    const KeptEvaluation evaluation = choose_evaluation(store, store.resolve(ref), choice);
    const std::string lines = completions_to_json_lines(store, evaluation);
    if (!settings_file.empty()) write_file_whole(settings_file, job_to_json(settings_job(evaluation)));
    if (out_file.empty()) {
      out = lines;
    } else {
      write_file_whole(out_file, lines);
      out = fmt::format("{} completions of {} in {}\n", std::count(lines.begin(), lines.end(), '\n'),
                        evaluation.key.spec.benchmark, out_file);
    }
  }
  const auto now_ms = static_cast<std::uint64_t>(unix_now_ms());
  if (push_command->parsed()) {
    ArtifactStore other = ArtifactStore::open(to, OpenMode::create);
    out = transferred_text(transfer(store, other, ref, as, now_ms), json);
  }
  if (pull_command->parsed()) {
    const ArtifactStore other = ArtifactStore::open(from, OpenMode::existing);
    out = transferred_text(transfer(other, store, ref, as, now_ms), json);
  }
  if (import_command->parsed()) out = imported_text(import_model(store, from, as, method), as, json);
  if (export_command->parsed()) {
    export_artifact(store, ref, format, to);
    out = to + "\n";
  }
  return 0;
}

}  // namespace

StoreReply answer_store_command(ArtifactStore& store, const StoreCommand& command) {
  StoreReply reply;
  try {
    const std::vector<std::string>& words = command.arguments;
    reply.exit_code = !words.empty() && words[0] == "calibration"
                          ? run_calibration_command(store, {words.begin() + 1, words.end()}, reply.out)
                          : dispatch(store, words, reply.out);
  } catch (const Error& error) {
    reply.exit_code = exit_code(error.code());
    reply.err = error.what();
  }
  return reply;
}

StoreReply run_store_command(const std::filesystem::path& directory, const StoreCommand& command) {
  if (const std::optional<std::string> owner = owner_endpoint(directory)) return ask_owner(*owner, command);
  ArtifactStore store = ArtifactStore::open(directory, OpenMode::existing);
  return answer_store_command(store, command);
}

int run_artifacts(const std::filesystem::path& directory, std::vector<std::string> arguments) {
  // The owner may run elsewhere: what it writes must not depend on its working directory.
  for (std::size_t i = 0; i + 1 < arguments.size(); ++i)
    if (arguments[i] == "--to" || arguments[i] == "--from" || arguments[i] == "--out" || arguments[i] == "--settings")
      arguments[i + 1] = std::filesystem::absolute(arguments[i + 1]);
  if (arguments.size() > 1 && arguments[0] == "import" && !arguments[1].starts_with("-"))
    arguments[1] = std::filesystem::absolute(arguments[1]);
  const StoreReply reply = run_store_command(directory, StoreCommand{std::move(arguments)});
  std::cout << reply.out;
  if (!reply.err.empty()) std::cerr << "quench: " << reply.err << "\n";
  return reply.exit_code;
}

}  // namespace quench::coordinator
