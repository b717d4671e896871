#include "coordinator/cli/calibration.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <iostream>
#include <sstream>

#include "coordinator/calibration_sets.h"
#include "coordinator/cli/artifacts.h"
#include "coordinator/cli/commands.h"
#include "coordinator/clock.h"
#include "coordinator/store/keys.h"
#include "coordinator/store_client.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

// A directory of ours that goes with the object.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string pattern = (fs::temp_directory_path() / "quench-calibration-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr)
      throw Error(ErrorCode::failed, "cannot make a directory in " + fs::temp_directory_path().string() +
                                         ": name another with TMPDIR");
    path_ = pattern;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::string derived_set_name(const BuildSetArguments& arguments) {
  fs::path model = fs::absolute(arguments.tokenizer).lexically_normal();
  if (!model.has_filename()) model = model.parent_path();
  std::string stem = model.filename().string();
  std::replace_if(
      stem.begin(), stem.end(),
      [](unsigned char c) { return std::isalnum(c) == 0 && c != '.' && c != '_' && c != '-'; }, '-');
  if (stem.empty() || std::isalnum(static_cast<unsigned char>(stem[0])) == 0) stem = "set";
  return fmt::format("calibration/{}-{}-{}x{}-seed{}", stem.substr(0, 80), arguments.kind,
                     arguments.sequences, arguments.length, arguments.seed);
}

void check_arguments(const BuildSetArguments& arguments) {
  for (const std::string& from : arguments.from)
    if (!fs::exists(from)) throw Error(ErrorCode::bad_input, "--from " + from + " does not exist");
  if (!fs::is_directory(arguments.tokenizer))
    throw Error(ErrorCode::bad_input,
                "--tokenizer " + arguments.tokenizer + " is not the directory of a model");
}

}  // namespace

int run_calibration_command(ArtifactStore& store, const std::vector<std::string>& arguments,
                            std::string& out) {
  CLI::App app{"calibration sets of a store", "quench calibration"};
  app.require_subcommand(1);
  bool json = false, documents = false;
  std::string ref, from, name;
  CLI::App* ls_command = app.add_subcommand("ls", "names with kind, sizes and seed");
  CLI::App* show_command = app.add_subcommand("show", "one set: what it was made of, what was left out");
  show_command->add_option("ref", ref, "name, digest or unique digest prefix")->required();
  show_command->add_flag("--documents", documents,
                         "where each part comes from and its licence, as JSON lines");
  CLI::App* adopt_command = app.add_subcommand("adopt", "take over what `build` has made")->group("");
  adopt_command->add_option("--out", from)->required();
  adopt_command->add_option("--name", name)->required();
  for (CLI::App* command : {ls_command, show_command, adopt_command}) command->add_flag("--json", json);
  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());
    app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    std::ostringstream text, problem;
    if (app.exit(error, text, problem) != 0) throw Error(ErrorCode::bad_input, problem.str());
    out = text.str();
    return 0;
  }
  if (ls_command->parsed()) out = list_sets(store, json);
  if (show_command->parsed()) out = show_set(store, ref, documents, json);
  if (adopt_command->parsed()) {
    const Digest digest = adopt_set(store, from, name, static_cast<std::uint64_t>(unix_now_ms()));
    out = show_set(store, digest.hex(), false, json);
    if (!json) out = "name         " + name + "\n" + out;
  }
  return 0;
}

int build_calibration(const BuildSetArguments& arguments) {
  check_arguments(arguments);
  const std::string name = arguments.name.empty() ? derived_set_name(arguments) : arguments.name;
  check_name("--name", name);
  const fs::path directory = store_directory(arguments.store);
  // A store that cannot be used is told before the work; one that is not there is made after it.
  if (!owner_endpoint(directory) && fs::exists(directory / "HEAD")) ArtifactStore::open(directory, OpenMode::existing);
  const ScratchFolder scratch;
  EngineArguments engine;
  engine.verb = "calibration-build";
  engine.arguments = {"--kind",
                      arguments.kind,
                      "--tokenizer",
                      arguments.tokenizer,
                      "--sequences",
                      std::to_string(arguments.sequences),
                      "--length",
                      std::to_string(arguments.length),
                      "--seed",
                      std::to_string(arguments.seed),
                      "--files-per-repository",
                      std::to_string(arguments.files_per_repository),
                      "--min-score",
                      std::to_string(arguments.score_min),
                      "--out",
                      scratch.path().string()};
  for (const std::string& from : arguments.from)
    engine.arguments.insert(engine.arguments.end(), {"--from", from});
  if (const int code = run_engine(engine); code != 0) return code;
  if (!owner_endpoint(directory)) ArtifactStore::open(directory, OpenMode::create);
  std::vector<std::string> adopt{"calibration", "adopt", "--out", scratch.path().string(), "--name", name};
  if (arguments.json) adopt.emplace_back("--json");
  return run_artifacts(directory, std::move(adopt));
}

}  // namespace quench::coordinator
