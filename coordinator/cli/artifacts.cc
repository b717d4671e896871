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
#include "coordinator/cli/artifact_care.h"
#include "coordinator/cli/artifact_keys.h"
#include "coordinator/cli/calibration.h"
#include "coordinator/cli/network_transfer.h"
#include "coordinator/cli/rederive.h"
#include "coordinator/clock.h"
#include "coordinator/export/export.h"
#include "coordinator/import/import.h"
#include "coordinator/kept_completions.h"
#include "coordinator/report/words.h"
#include "coordinator/repository/description.h"
#include "coordinator/repository/listing.h"
#include "coordinator/repository/names.h"
#include "coordinator/repository/oci_layout.h"
#include "coordinator/store_client.h"
#include "coordinator/transfer.h"
#include "schemas/codec.h"

namespace quench::coordinator {
namespace {

using nlohmann::ordered_json;

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

std::string imported_text(const OciImported& done, bool json) {
  if (json)
    return ordered_json{{"name", done.name}, {"digest", done.digest.hex()}, {"chunks", done.chunks}, {"chunks_new", done.chunks_new}}.dump(2) +
           "\n";
  return fmt::format("{}  {}: {} of {} chunks new\n", done.name, done.digest.short_hex(), done.chunks_new, done.chunks);
}

std::string imported_text(const ImportedModel& done, const std::string& name, bool json) {
  if (json)
    return ordered_json{{"name", name}, {"digest", done.digest.hex()}, {"format", done.format}, {"linears", done.linears}, {"not_quantized", done.left}}
               .dump(2) +
           "\n";
  return fmt::format("{}  {}: {}, {} linears of which {} not quantized\n", name, done.digest.short_hex(), done.format, done.linears, done.left);
}

// What people call things and how they find them.
struct NameCommands {
  ListChoice choice;
  std::string ref, other, name, expected, max_size;
  std::vector<std::string> names;
  std::size_t steps = 1;
  bool json = false;
  CLI::App *ls, *show, *diff, *sharing, *log, *tag, *rm, *undo;

  explicit NameCommands(CLI::App& app) {
    ls = app.add_subcommand("ls", "names with digest, model, size, bits, loss and pass@1");
    ls->add_option("--name", choice.name, "pattern with *");
    ls->add_option("--model", choice.model, "part of the source model's name, or the beginning of its digest");
    ls->add_option("--method", choice.method);
    ls->add_option("--bits", choice.bits);
    ls->add_option("--benchmark", choice.benchmark, "whose pass@1; default: the first that was evaluated");
    ls->add_option("--max-size", max_size, "no larger than so much, as 20G");
    ls->add_option("--min-pass@1", choice.percent_min, "at least so many % of pass@1")->check(CLI::Range(0.0, 100.0));
    ls->add_option("--sort", choice.sort, fmt::format("{}", fmt::join(kListSorts, ", ")));
    ls->add_flag("--reverse", choice.reverse);
    show = app.add_subcommand("show", "one artifact: where it comes from, recipe, tensors, losses, scores");
    diff = app.add_subcommand("diff", "what differs between two: inputs, recipe, tensors, scores");
    diff->add_option("a", ref)->required();
    diff->add_option("b", other)->required();
    sharing = app.add_subcommand("sharing", "bytes that artifacts have in common; default: all");
    sharing->add_option("refs", names);
    log = app.add_subcommand("log", "every change of a name, newest first");
    tag = app.add_subcommand("tag", "give an artifact another name: REF NAME");
    tag->add_option("ref", ref, "name, digest or unique digest prefix")->required();
    tag->add_option("name", name, "org/model:tag")->required();
    tag->add_option("--expect", expected, "digest that the name means now, or none: fail when it is another");
    rm = app.add_subcommand("rm", "end names; weights stay until `gc`");
    rm->add_option("names", names)->required();
    undo = app.add_subcommand("undo", "take a name's last change back; an undo can be undone");
    undo->add_option("--steps", steps, "changes to go back")->check(CLI::Range(1, 1'000'000));
    show->add_option("ref", ref, "name, digest or unique digest prefix")->required();
    for (CLI::App* command : {log, undo}) command->add_option("name", name)->required();
    for (CLI::App* command : {ls, show, diff, sharing, log}) command->add_flag("--json", json);
  }

  bool run(ArtifactStore& store, std::uint64_t now_ms, std::string& out) const {
    if (ls->parsed()) {
      ListChoice chosen = choice;
      if (!max_size.empty()) chosen.bytes_max = parse_bytes("--max-size", max_size);
      out = list_artifacts(store, chosen, json);
    }
    if (show->parsed()) {
      const bool is_set = !json && decode_manifest(store.get_object(store.resolve(ref)).bytes).set.has_value();
      out = is_set ? show_set(store, ref, false, false) : describe_lineage(store, ref, json);
    }
    if (diff->parsed()) out = describe_difference(store, ref, other, json);
    if (sharing->parsed()) out = describe_sharing(store, names, json);
    if (log->parsed()) out = log_of_name(store, name, json);
    if (tag->parsed()) out = tag_artifact(store, ref, name, expected, now_ms);
    if (rm->parsed()) out = end_names(store, names, now_ms);
    if (undo->parsed()) out = undo_name(store, name, steps, now_ms);
    for (const CLI::App* command : {ls, show, diff, sharing, log, tag, rm, undo})
      if (command->parsed()) return true;
    return false;
  }
};

// What leaves the store and what comes into it.
struct MovingCommands {
  std::string ref, format, to, from, as, method, out_file, settings_file;
  CompletionsChoice completions_choice;
  bool json = false;
  CLI::App *export_command, *completions, *push, *pull, *import_command;

  explicit MovingCommands(CLI::App& app) {
    export_command = app.add_subcommand("export", "write an artifact in another tool's format");
    export_command->add_option("--format", format, export_format_names() + ", oci (an OCI image layout)")->required();
    export_command->add_option("--to", to, "directory to make")->required();
    import_command = app.add_subcommand("import", "take over an artifact from an OCI image layout, or a model that was quantized elsewhere");
    import_command->add_option("--from", from, "the layout's directory, or a model's: GPTQ, AWQ, AQLM, compressed-tensors, plain safetensors")
        ->required();
    import_command->add_option("--method", method, "what found a model's codes, where its format does not say: rtn, gptq, awq");
    completions = app.add_subcommand("completions", "the kept completions, as JSON lines that `quench grade` takes");
    completions->add_option("--benchmark", completions_choice.benchmark);
    completions->add_option("--evaluation", completions_choice.evaluation, "prefix of an evaluation's digest");
    completions->add_option("--settings", settings_file, "job file to write: the evaluation's settings");
    completions->add_option("--out", out_file, "file to write; default: stdout");
    push = app.add_subcommand("push", "copy an artifact or a calibration set to another store");
    push->add_option("--to", to, "the other store's directory, or a service: https://HOST[:PORT], unix:///PATH")->required();
    pull = app.add_subcommand("pull", "copy an artifact or a calibration set from another store");
    pull->add_option("--from", from, "the other store's directory, or a service")->required();
    for (CLI::App* command : {export_command, completions, push, pull})
      command->add_option("ref", ref, "name, digest or unique digest prefix")->required();
    for (CLI::App* command : {push, pull, import_command})
      command->add_option("--as", as, "its name in the receiving store; default: the name it has");
    for (CLI::App* command : {export_command, push, pull, import_command}) command->add_flag("--json", json);
  }

  bool run(ArtifactStore& store, std::uint64_t now_ms, std::string& out) const {
    if (export_command->parsed()) out = export_as(store);
    if (completions->parsed()) out = give_completions(store);
    if (push->parsed()) {
      ArtifactStore other = ArtifactStore::open(to, OpenMode::create);
      out = move(store, other, now_ms);
    }
    if (pull->parsed()) out = move(ArtifactStore::open(from, OpenMode::read_only), store, now_ms);
    if (import_command->parsed()) out = import_from(store, now_ms);
    for (const CLI::App* command : {export_command, completions, push, pull, import_command})
      if (command->parsed()) return true;
    return false;
  }

  std::string move(const ArtifactStore& from_store, ArtifactStore& to_store, std::uint64_t now_ms) const {
    StoreSource source(from_store);
    StoreSink sink(to_store);
    return transferred_text(transfer(source, sink, ref, as, now_ms), json);
  }

  std::string import_from(ArtifactStore& store, std::uint64_t now_ms) const {
    const bool is_layout = std::filesystem::exists(std::filesystem::path(from) / "oci-layout");
    if (is_layout && method.empty()) return imported_text(import_oci_layout(store, from, as, now_ms), json);
    if (is_layout) throw Error(ErrorCode::bad_input, "--method " + method + ": an artifact in an OCI image layout says itself how it was made; leave it out");
    if (as.empty()) throw Error(ErrorCode::bad_input, from + " is a model that has no name here yet: say with --as NAME what it is to be called");
    return imported_text(import_model(store, from, as, method), as, json);
  }

  std::string export_as(const ArtifactStore& store) const {
    if (format != "oci") {
      export_artifact(store, ref, format, to);
      return to + "\n";
    }
    const OciWritten written = write_oci_layout(store, ref, to);
    if (json) return ordered_json{{"to", to}, {"blobs", written.blobs}, {"bytes", written.bytes}}.dump(2) + "\n";
    return fmt::format("{}: {} blobs, {} MB\n", to, written.blobs, megabytes(written.bytes));
  }

  std::string give_completions(const ArtifactStore& store) const {
    const KeptEvaluation evaluation = choose_evaluation(store, store.resolve(ref), completions_choice);
    const std::string lines = completions_to_json_lines(store, evaluation);
    if (!settings_file.empty()) write_file_whole(settings_file, job_to_json(settings_job(evaluation)));
    if (out_file.empty()) return lines;
    write_file_whole(out_file, lines);
    return fmt::format("{} completions of {} in {}\n", std::count(lines.begin(), lines.end(), '\n'),
                       evaluation.key.spec.benchmark, out_file);
  }
};

int dispatch(ArtifactStore& store, const std::vector<std::string>& arguments, std::string& out) {
  CLI::App app{"artifacts of a store", "quench artifacts"};
  app.require_subcommand(1);
  const NameCommands names(app);
  const MovingCommands moving(app);
  CareCommands care(app);
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
  const auto now_ms = static_cast<std::uint64_t>(unix_now_ms());
  if (names.run(store, now_ms, out) || moving.run(store, now_ms, out)) return 0;
  return care.run(store, now_ms, out);
}

}  // namespace

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
  // What brings an artifact may also bring the store it goes to.
  const bool brings = !command.arguments.empty() && (command.arguments[0] == "import" || command.arguments[0] == "pull");
  ArtifactStore store = ArtifactStore::open(directory, brings ? OpenMode::create : OpenMode::existing);
  return answer_store_command(store, command);
}

namespace {

// Without a store: what there is.
std::string commands_text() {
  CLI::App app{"artifacts of a store: names, lineage, moving, trust and care", "quench artifacts"};
  const NameCommands names(app);
  const MovingCommands moving(app);
  const CareCommands care(app);
  app.add_subcommand("key", "new --out FILE: make a signing key");
  app.add_subcommand("sign", "REF --key FILE: sign an artifact; the key stays here");
  app.add_subcommand("restore", "--from BACKUP: make the store that --store names from a backup");
  return app.help();
}

}  // namespace

int run_artifacts(const std::filesystem::path& directory, std::vector<std::string> arguments) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h") {
    std::cout << commands_text();
    return arguments.empty() ? exit_code(ErrorCode::bad_input) : 0;
  }
  // The owner may run elsewhere: what it writes must not depend on its working directory.
  for (std::size_t i = 0; i + 1 < arguments.size(); ++i)
    if (arguments[i] == "--to" || arguments[i] == "--from" || arguments[i] == "--out" || arguments[i] == "--settings" ||
        arguments[i] == "--key") {
      if (!is_service(arguments[i + 1])) arguments[i + 1] = std::filesystem::absolute(arguments[i + 1]);
    }
  if (const std::optional<int> code = run_network_transfer(directory, arguments)) return *code;
  if (is_rederive(arguments)) return rederive(parse_rederive(directory, arguments));
  if (const std::optional<int> code = run_key_command(directory, arguments)) return *code;
  const StoreReply reply = run_store_command(directory, StoreCommand{std::move(arguments)});
  std::cout << reply.out;
  if (!reply.err.empty()) std::cerr << "quench: " << reply.err << "\n";
  return reply.exit_code;
}

}  // namespace quench::coordinator
