#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "coordinator/cli/artifacts.h"
#include "coordinator/cli/commands.h"
#include "coordinator/store_client.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;

// A directory of our own that goes with the object.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (fs::temp_directory_path() / "quench-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr)
      throw errno_error(ErrorCode::failed, "cannot make a directory in " + fs::temp_directory_path().string(), errno);
    path_ = pattern;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  fs::path operator/(const char* name) const { return path_ / name; }

 private:
  fs::path path_;
};

void write_kept_completions(const RegradeArguments& arguments, const fs::path& file, const fs::path& settings) {
  StoreCommand command{{"completions", arguments.ref, "--out", file.string(), "--settings", settings.string()}};
  if (!arguments.benchmark.empty())
    command.arguments.insert(command.arguments.end(), {"--benchmark", arguments.benchmark});
  if (!arguments.evaluation.empty())
    command.arguments.insert(command.arguments.end(), {"--evaluation", arguments.evaluation});
  const StoreReply reply = run_store_command(arguments.store, command);
  if (reply.exit_code != 0) throw Error(ErrorCode::bad_input, reply.err);
}

template <typename Visit>
void for_each_line(const fs::path& file, Visit visit) {
  std::ifstream in(file, std::ios::binary);
  for (std::string text; std::getline(in, text);)
    if (!text.empty()) visit(nlohmann::json::parse(text));
}

// On stderr: stdout belongs to the engine's answer.
void tell_changes(const fs::path& graded) {
  std::size_t lines = 0, changed = 0;
  for_each_line(graded, [&](const nlohmann::json& line) {
    ++lines;
    if (line.at("kept_result") == line.at("result")) return;
    ++changed;
    std::cerr << line.at("task_id").get<std::string>() << ", sample " << line.at("sample") << ": "
              << line.at("kept_result").get<std::string>() << " before, " << line.at("result").get<std::string>()
              << " now\n";
  });
  std::cerr << changed << " of " << lines << " verdicts are others than the kept ones\n";
}

}  // namespace

int regrade(const RegradeArguments& arguments) {
  const TemporaryDirectory directory;
  const fs::path completions = directory / "completions.jsonl";
  const fs::path settings = directory / "settings.json";
  write_kept_completions(arguments, completions, settings);
  EngineArguments engine;
  engine.verb = "grade";
  engine.arguments = arguments.arguments;
  std::optional<std::pair<std::string, std::string>> what;
  for_each_line(completions, [&](const nlohmann::json& line) {
    if (!what) what.emplace(line.at("benchmark"), line.at("language"));
  });
  if (!what) throw Error(ErrorCode::bad_input, "no verdict is kept of this evaluation yet");
  engine.arguments.insert(engine.arguments.end(), {"--benchmark", what->first, "--language", what->second,
                                                   "--completions", completions.string(), "--settings",
                                                   settings.string()});
  const int code = run_engine(engine);
  if (code == 0) tell_changes(arguments.out);
  return code;
}

}  // namespace quench::coordinator
