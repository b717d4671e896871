#include "coordinator/cli/rederive.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <fstream>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cluster/launch/child_process.h"
#include "coordinator/calibration_sets.h"
#include "coordinator/cli/artifacts.h"
#include "coordinator/cli/commands.h"
#include "coordinator/plan/planner.h"
#include "coordinator/repository/rederivation.h"
#include "coordinator/trust/base64.h"
#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr std::chrono::milliseconds kLookEvery{100}, kStopGrace{5'000};
constexpr int kSame = 0, kUntrusted = 2, kUnverifiable = 4;

class ScratchStore {
 public:
  explicit ScratchStore(const fs::path& parent) {
    std::string pattern = ((parent.empty() ? fs::temp_directory_path() : parent) / "quench-rederive-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr)
      throw errno_error(ErrorCode::bad_input, "cannot make a directory in " + parent.string(), errno);
    path_ = pattern;
  }
  ~ScratchStore() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ScratchStore(const ScratchStore&) = delete;
  ScratchStore& operator=(const ScratchStore&) = delete;
  fs::path store() const { return path_ / "store"; }
  fs::path job() const { return path_ / "job.json"; }

 private:
  fs::path path_;
};

// At the store's owner, or here.
StoreReply ask(const fs::path& store, std::vector<std::string> words) {
  StoreReply reply = run_store_command(store, StoreCommand{std::move(words)});
  if (reply.exit_code != 0)
    throw Error(reply.exit_code == exit_code(ErrorCode::bad_input) ? ErrorCode::bad_input : ErrorCode::failed, reply.err);
  return reply;
}

// This program again: one job, in a process of its own. Once `done` says so, it is stopped.
int run_this_program(const std::vector<std::string>& words, const std::function<bool()>& done = {}) {
  cluster::Loop loop;
  cluster::ChildCommand command;
  command.program = fs::read_symlink("/proc/self/exe");
  command.arguments = words;
  command.out = cluster::ChildStream::null_device;
  int code = exit_code(ErrorCode::internal);
  boost::asio::steady_timer look(loop);
  cluster::ChildHandlers handlers;
  handlers.on_exit = [&](const cluster::ChildExit& exit) {
    code = exit.code;
    loop.stop();
  };
  cluster::ChildProcess child(loop, command, std::move(handlers));
  bool stopped = false;
  const std::function<void()> look_later = [&] {
    look.expires_after(kLookEvery);
    look.async_wait([&](const boost::system::error_code& cancelled) {
      if (cancelled) return;
      if (!done()) return look_later();
      stopped = true;
      child.stop(kStopGrace);
    });
  };
  if (done) look_later();
  loop.run();
  return stopped ? 0 : code;
}

std::vector<std::string> run_words(const RederiveArguments& arguments, const ScratchStore& scratch) {
  return {"run", scratch.job().string(), "--store", scratch.store().string(), "--ranks", std::to_string(arguments.ranks), "--json"};
}

int tell(const RederiveArguments& arguments, const Digest& stored, int status, const std::string& made, const std::string& words) {
  const char* verdict = status == kSame ? "the same" : status == kUntrusted ? "different" : "not run";
  if (arguments.json) {
    std::cout << ordered_json{{"digest", stored.hex()}, {"verdict", verdict}, {"made", made}, {"words", words}}.dump(2) << "\n";
  } else {
    std::cout << fmt::format("{}  {}\n{}", stored.hex(), verdict, words);
  }
  return status;
}

// A sample: for each block a job that has every block before it as the artifact has them, so that its ranks replay those
// (forward only) and quantize this one.
int rederive_blocks(const RederiveArguments& arguments, const ScratchStore& scratch, const Digest& digest, const Manifest& stored) {
  const std::vector<BlockRecords> blocks = blocks_of(stored);
  if (blocks.empty()) throw Error(ErrorCode::bad_input, digest.short_hex() + " has no blocks to sample");
  ask(arguments.store, {"push", digest.hex(), "--to", fs::absolute(scratch.store()).string(), "--as", "rederive/stored"});
  const std::vector<std::uint32_t> sample = sample_blocks(static_cast<std::uint32_t>(blocks.size()), arguments.blocks, arguments.seed);
  std::string words;
  bool same = true;
  for (const std::uint32_t block : sample) {
    Digest id;
    {
      ArtifactStore store = ArtifactStore::open(scratch.store(), OpenMode::existing);
      const JobSpec job = with_calibration_set(store, read_job_for(scratch.job(), arguments.ranks));
      if (const Digest source = model_source_digest(job.model); source != stored.source)
        return tell(arguments, digest, kUnverifiable, "", "  the source model is another: " + source.hex() + "\n");
      id = job_id(job, stored.source);
      write_journal_before(store, id, job, stored, block);
    }
    const fs::path log = scratch.store() / "logs" / (id.short_hex() + ".log");
    std::error_code ignored;
    fs::remove(log, ignored);
    // The log says what is committed.
    const std::string line = fmt::format(": {} of {}", block + 1, blocks.size());
    const int code = run_this_program(run_words(arguments, scratch), [&] {
      std::ifstream in(log);
      for (std::string one; std::getline(in, one);)
        if (one.find(line) != std::string::npos) return true;
      return false;
    });
    const std::optional<BlockRecords> made = committed_block(ArtifactStore::open(scratch.store(), OpenMode::existing), id, block);
    if (code == exit_code(ErrorCode::interrupted) && !made) return code;
    if (!made) return tell(arguments, digest, kUnverifiable, "", "  block " + std::to_string(block) + " could not be made; what stands above says why\n");
    const bool equal = *made == blocks[block];
    same &= equal;
    words += fmt::format("  block {} of {}: {}\n", block, blocks.size(), equal ? "the same" : "different");
    if (equal) continue;
    for (std::size_t i = 0; i < std::min(made->tensors.size(), blocks[block].tensors.size()); ++i)
      if (made->tensors[i] != blocks[block].tensors[i]) words += "    " + blocks[block].tensors[i].name + " has other bytes\n";
  }
  return tell(arguments, digest, same ? kSame : kUntrusted, "", words);
}

}  // namespace

bool is_rederive(const std::vector<std::string>& words) {
  return !words.empty() && words[0] == "verify" &&
         std::ranges::any_of(words, [](const std::string& word) { return word.starts_with("--rederive"); });
}

RederiveArguments parse_rederive(const fs::path& store, const std::vector<std::string>& words) {
  RederiveArguments arguments;
  arguments.store = store;
  CLI::App app{"run the recipe of an artifact again and compare", "quench artifacts verify --rederive"};
  app.add_option("--rederive", arguments.ref)->required();
  app.add_option("--model", arguments.model);
  app.add_option("--scratch", arguments.scratch);
  app.add_option("--ranks", arguments.ranks)->check(CLI::Range(1, 4096));
  app.add_option("--blocks", arguments.blocks, "a sample of so many blocks instead of the whole recipe");
  app.add_option("--seed", arguments.seed, "draws the sample");
  app.add_flag("--json", arguments.json);
  std::vector<std::string> reversed(words.rbegin(), words.rend() - 1);
  try {
    app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    throw Error(ErrorCode::bad_input, std::string("verify --rederive: ") + error.what());
  }
  return arguments;
}

int rederive(const RederiveArguments& arguments) {
  std::vector<std::string> words = {"rederivation", "--ref", arguments.ref};
  if (!arguments.model.empty()) words.insert(words.end(), {"--model", fs::absolute(arguments.model).string()});
  const ordered_json plan = ordered_json::parse(ask(arguments.store, words).out);
  const Digest digest = Digest::from_hex(plan.at("digest").get<std::string>());
  const std::string model = plan.at("job").at("model").get<std::string>();
  if (!fs::is_directory(model))
    return tell(arguments, digest, kUnverifiable, "", "  its model is not at " + model + ": say with --model DIR where it is\n");

  const ScratchStore scratch(arguments.scratch);
  { ArtifactStore::open(scratch.store(), OpenMode::create); }
  if (const std::string set = plan.at("calibration_set").get<std::string>(); !set.empty())
    ask(arguments.store, {"push", set, "--to", fs::absolute(scratch.store()).string(), "--as", "calibration/set"});
  std::ofstream(scratch.job()) << plan.at("job").dump(2) << "\n";
  const std::string bytes = from_base64(plan.at("manifest").get<std::string>());
  const Manifest stored = decode_manifest(as_bytes(bytes));
  if (arguments.blocks > 0) return rederive_blocks(arguments, scratch, digest, stored);
  const int code = run_this_program(run_words(arguments, scratch));
  if (code == exit_code(ErrorCode::interrupted)) return code;
  if (code != 0) return tell(arguments, digest, kUnverifiable, "", "  the recipe could not be run; what stands above says why\n");

  const ArtifactStore made_in = ArtifactStore::open(scratch.store(), OpenMode::existing);
  for (const Ref& ref : made_in.list_refs()) {
    const Manifest made = decode_manifest(made_in.get_object(ref.object).bytes);
    if (made.set) continue;
    if (ref.object == digest) return tell(arguments, digest, kSame, digest.hex(), "");
    const std::string differences = manifest_differences(stored, made);
    const bool other_inputs = stored.source != made.source || stored.calibration != made.calibration;
    return tell(arguments, digest, other_inputs ? kUnverifiable : kUntrusted, ref.object.hex(), differences);
  }
  throw Error(ErrorCode::internal, "the job that should make " + digest.short_hex() + " again made nothing");
}

}  // namespace quench::coordinator
