// quench: the command line. Parses, calls one command, and turns an Error into a message and an exit
// code (DESIGN.md section 7).
#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/cli/artifacts.h"
#include "coordinator/cli/calibration.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/service_commands.h"
#include "schemas/build_id.h"
#include "schemas/error.h"

namespace {

using namespace quench;
using namespace quench::coordinator;

void check_exists(const std::string& path, const char* what) {
  if (!std::filesystem::exists(path))
    throw Error(ErrorCode::bad_input, std::string(what) + " " + path + " does not exist");
}

// REF|DIR: a directory with a config.json is a model; anything else is a ref of the store.
EngineArguments model_arguments(const std::string& verb, const std::string& model, const std::string& store) {
  EngineArguments engine;
  engine.verb = verb;
  engine.store = store_directory(store);
  if (std::filesystem::is_directory(model))
    engine.arguments = {"--model", std::filesystem::absolute(model)};
  else
    engine.ref = model;
  return engine;
}

// Options which the engine's verb takes under the same name are handed on as they were written.
struct Passed {
  std::vector<std::string>& arguments;
  void value(const char* name, const std::string& text) const {
    if (!text.empty()) arguments.insert(arguments.end(), {std::string(name), text});
  }
  void flag(const char* name, bool set) const {
    if (set) arguments.emplace_back(name);
  }
};

// A command for the store's owner: `first` and what stands behind the command. `--store` may stand before or after
// those words.
int run_store_words(std::vector<std::string> first, const CLI::App& command, std::string store) {
  std::vector<std::string> words = command.remaining();
  for (std::size_t i = 0; i + 1 < words.size(); ++i)
    if (words[i] == "--store") {
      store = words[i + 1];
      words.erase(words.begin() + static_cast<std::ptrdiff_t>(i), words.begin() + static_cast<std::ptrdiff_t>(i) + 2);
      break;
    }
  first.insert(first.end(), words.begin(), words.end());
  return run_artifacts(store_directory(store), first);
}

int run(int argc, char** argv) {
  CLI::App app{"Quench: quantize code models over a cluster, and measure what the bits cost", "quench"};
  app.set_version_flag("--version", std::string("quench ") + kBuildId);
  app.require_subcommand(1);

  RunArguments run_arguments;
  CLI::App* run_command = app.add_subcommand("run", "the whole job: quantize, store, evaluate, report");
  run_command->add_option("job", run_arguments.job, "JOB.json")->required();
  run_command->add_option("--ranks", run_arguments.ranks, "MPI ranks, instead of the job's");
  run_command->add_option("--threads", run_arguments.threads, "threads per rank; default: cores / ranks")
      ->check(CLI::Range(1, 1024));
  run_command->add_option("--store", run_arguments.store,
                          "artifact store; default $QUENCH_STORE or ./quench-store");
  run_command->add_option("--report", run_arguments.report, "directory for the HTML report");
  run_command->add_option("--launcher", run_arguments.launcher,
                          "auto: the Slurm allocation this runs in, else this machine; local; slurm: sbatch");
  run_command->add_option("--slurm-template", run_arguments.slurm_template,
                          "batch script for --launcher slurm, a copy of cluster/launch/slurm.sbatch");
  run_command->add_option("--hosts", run_arguments.hosts, "HOST[:RANKS],... where mpirun starts ranks by ssh")
      ->delimiter(',');
  run_command->add_option("--listen", run_arguments.listen,
                          "ADDRESS:PORT where ranks and evaluation workers of other hosts join (port 0: a free one)");
  run_command->add_flag("--plain-network", run_arguments.plain_network,
                        "let --listen be reachable from other hosts, unencrypted");
  CLI::Option* certificate = run_command->add_option("--tls-certificate", run_arguments.tls_certificate,
                                                     "PEM: who comes to --listen comes encrypted");
  CLI::Option* key = run_command->add_option("--tls-key", run_arguments.tls_key, "PEM: its key");
  certificate->needs(key);
  key->needs(certificate);
  run_command->add_flag("--json", run_arguments.json, "one JSON document on stdout");

  PlanArguments plan_arguments;
  CLI::App* plan_command = app.add_subcommand("plan", "time, energy, memory and bytes, before anything runs");
  plan_command->add_option("job", plan_arguments.job, "JOB.json")->required();
  plan_command->add_option("--ranks", plan_arguments.ranks);
  plan_command->add_option("--threads", plan_arguments.threads, "threads per rank; default: cores / ranks")
      ->check(CLI::Range(1, 1024));
  plan_command->add_option("--machine", plan_arguments.machine,
                           "a profile that `quench bench profile` wrote, or a100-80gb, h100-sxm, h200-sxm (published "
                           "figures); default: this machine is measured");
  plan_command->add_flag("--sizes", plan_arguments.sizes, "no times: measure nothing");
  plan_command->add_flag("--table", plan_arguments.table, "one row each for 1, 2, 4 ... 64 ranks");
  plan_command->add_option("--store", plan_arguments.store, "whose disk is measured, and where the job's calibration set is; default $QUENCH_STORE or ./quench-store");
  plan_command->add_flag("--json", plan_arguments.json);

  std::string artifacts_store;
  CLI::App* artifacts_command =
      app.add_subcommand("artifacts", "names, lineage, moving, trust and care of what a store holds; `quench artifacts --help` lists the commands");
  artifacts_command->add_option("--store", artifacts_store);
  artifacts_command->prefix_command();
  artifacts_command->set_help_flag();  // its own commands say more

  BuildSetArguments set_arguments;
  std::string sets_store;
  CLI::App* calibration_command = app.add_subcommand("calibration", "make and keep calibration sets: build, ls, show REF");
  calibration_command->require_subcommand(1);
  CLI::App* build_command = calibration_command->add_subcommand("build", "make a set from local text and code");
  build_command->add_option("--kind", set_arguments.kind, "random: web text; code: half Python, half Java; mixed: half questions, half code")
      ->required()
      ->check(CLI::IsMember({"random", "code", "mixed"}));
  build_command->add_option("--from", set_arguments.from, "text, source trees, JSON lines, StackExchange's Posts.xml")->required();
  build_command->add_option("--tokenizer", set_arguments.tokenizer, "directory of the model that the set is for")->required();
  build_command->add_option("--sequences", set_arguments.sequences)->check(CLI::Range(1, 65'536))->capture_default_str();
  build_command->add_option("--length", set_arguments.length, "tokens of a sequence")->check(CLI::Range(1, 131'072))->capture_default_str();
  build_command->add_option("--seed", set_arguments.seed)->capture_default_str();
  build_command->add_option("--files-per-repository", set_arguments.files_per_repository)->check(CLI::Range(1, 65'536))->capture_default_str();
  build_command->add_option("--min-score", set_arguments.score_min, "of questions")->capture_default_str();
  build_command->add_option("--name", set_arguments.name, "in the store; default: calibration/MODEL-KIND-SEQUENCESxLENGTH-seedSEED");
  build_command->add_option("--store", set_arguments.store);
  build_command->add_flag("--json", set_arguments.json);
  CLI::App* sets_command = calibration_command->add_subcommand("ls", "the sets of a store");
  CLI::App* set_command = calibration_command->add_subcommand("show", "one set: REF [--documents]");
  for (CLI::App* command : {sets_command, set_command}) {
    command->add_option("--store", sets_store);
    command->prefix_command();
  }

  ReportArguments report_arguments;
  CLI::App* report_command = app.add_subcommand("report", "tables, plot and HTML of artifacts");
  report_command->add_option("refs", report_arguments.refs, "REF...")->required();
  report_command->add_option("--out", report_arguments.out, "directory for the report's files");
  report_command
      ->add_option("--format", report_arguments.formats,
                   "of the files: text, markdown, csv, json, latex, html")
      ->delimiter(',');
  report_command
      ->add_option("--carbon-intensity", report_arguments.carbon_intensity,
                   "g CO2e per kWh of your grid; default: the world's average of 2022")
      ->check(CLI::Range(0.0, 10'000.0));
  report_command->add_option("--protocol", report_arguments.protocol,
                             "give the tables of a study as well: giagnorio-2025");
  report_command->add_option("--carbon-source", report_arguments.carbon_source,
                             "who says so, and of when it is");
  report_command->add_option("--store", report_arguments.store);
  report_command->add_option("--k", report_arguments.ks, "also pass@k: 5,10")->delimiter(',');
  report_command->add_flag("--json", report_arguments.json);

  CompareArguments compare_arguments;
  CLI::App* compare_command =
      app.add_subcommand("compare", "paired tests: artifacts, or files of `quench grade`");
  compare_command->add_option("subjects", compare_arguments.subjects, "A B...")
      ->required()
      ->expected(2, 1000);
  compare_command->add_option("--store", compare_arguments.store);
  compare_command->add_option("--k", compare_arguments.ks, "also pass@k: 5,10")->delimiter(',');
  compare_command->add_flag("--json", compare_arguments.json);

  std::string model, store, prompt, text, max_tokens, temperature, top_p, top_k, seed, context, arithmetic;
  bool json = false;
  CLI::App* generate_command = app.add_subcommand("generate", "continue a prompt");
  generate_command->add_option("model", model, "REF or model directory")->required();
  generate_command->add_option("--prompt", prompt)->required();
  generate_command->add_option("--max-tokens", max_tokens);
  generate_command->add_option("--temperature", temperature);
  generate_command->add_option("--top-p", top_p);
  generate_command->add_option("--top-k", top_k);
  generate_command->add_option("--seed", seed);
  CLI::App* perplexity_command = app.add_subcommand("perplexity", "how well a model predicts a text");
  perplexity_command->add_option("model", model, "REF or model directory")->required();
  perplexity_command->add_option("--text", text)->required();
  perplexity_command->add_option("--context", context, "tokens per window");
  for (CLI::App* command : {generate_command, perplexity_command}) {
    command->add_option("--store", store);
    command->add_option("--arithmetic", arithmetic, "what products are of: fp32, or bf16 (CPU only)")->check(CLI::IsMember({"fp32", "bf16"}));
    command->add_flag("--json", json);
  }

  std::string benchmark, language, problems, completions, out;
  bool allow_landlock = false;
  CLI::App* grade_command = app.add_subcommand("grade", "execute given completions, no model");
  std::string from, evaluation;
  grade_command->add_option("--benchmark", benchmark, "required with --completions");
  grade_command->add_option("--language", language);
  grade_command->add_option("--problems", problems, "another problem file of the same form");
  grade_command->add_option("--completions", completions, "JSON lines to execute");
  grade_command->add_option("--from", from, "REF: execute the completions that are kept of an artifact again");
  grade_command->add_option("--evaluation", evaluation, "with --from: prefix of the evaluation's digest");
  grade_command->add_option("--store", store, "with --from");
  grade_command->add_option("--out", out)->required();
  grade_command->add_flag("--allow-landlock", allow_landlock,
                          "where the host forbids namespaces, hold programs with Landlock and say so in each verdict");
  grade_command->add_flag("--json", json);

  CLI::App* bench_command = app.add_subcommand("bench", "the numbers of the README, on this machine");
  bench_command->require_subcommand(1);
  CLI::App* layer_command = bench_command->add_subcommand("layer", "quantize one linear from a file");
  layer_command->prefix_command();
  CLI::App* decode_command = bench_command->add_subcommand("decode", "tokens per second of a random packed model");
  decode_command->prefix_command();
  CLI::App* block_command = bench_command->add_subcommand("block", "quantize one block of random weights");
  block_command->prefix_command();
  BenchStoreArguments store_arguments;
  CLI::App* store_command = bench_command->add_subcommand("store", "how fast the artifact store is on a disk");
  store_command->add_option("--store", store_arguments.store, "whose disk is measured; default $QUENCH_STORE or ./quench-store");
  store_command->add_option("--mebibytes", store_arguments.mebibytes)->check(CLI::Range(1, 65'536));
  store_command->add_option("--open-chunks", store_arguments.open_chunks, "also open a store of so many small chunks");
  store_command->add_flag("--json", store_arguments.json);
  BenchProfileArguments profile_arguments;
  MeasureArguments& measured = profile_arguments.measure;
  measured.threads = 0;
  CLI::App* profile_command = bench_command->add_subcommand("profile", "the rates of this machine that plans are made of");
  profile_command->add_option("--ranks", measured.ranks, "that a job will have on this machine")->check(CLI::Range(1, 1024));
  profile_command->add_option("--threads", measured.threads, "of each; default: cores / ranks")->check(CLI::Range(1, 1024));
  profile_command->add_option("--shape", measured.shapes,
                              "HIDDEN:INTERMEDIATE:HEADS:KVHEADS:VOCABULARY of a block, by rising size");
  profile_command->add_option("--length", measured.length, "tokens of a calibration sequence");
  profile_command->add_option("--store", measured.store, "whose disk is measured; default $QUENCH_STORE or ./quench-store");
  profile_command->add_option("--out", profile_arguments.out, "the profile's file; default: standard output");
  CLI::App* sandbox_command = bench_command->add_subcommand("sandbox", "programs per second in the sandbox");
  sandbox_command->prefix_command();

  ServiceCommands service_commands(app);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : exit_code(ErrorCode::bad_input);
  }

  if (const std::optional<int> code = service_commands.run()) return *code;
  if (run_command->parsed()) return run_job(run_arguments);
  if (plan_command->parsed()) return show_plan(plan_arguments);
  if (store_command->parsed()) return bench_store(store_arguments);
  if (profile_command->parsed()) {
    JobSpec as_a_job;
    as_a_job.ranks = measured.ranks;
    if (measured.threads == 0) measured.threads = threads_per_rank(as_a_job, std::nullopt);
    return bench_profile(profile_arguments);
  }
  if (report_command->parsed()) return write_report(report_arguments);
  if (compare_command->parsed()) return compare(compare_arguments);
  if (artifacts_command->parsed()) return run_store_words({}, *artifacts_command, artifacts_store);
  if (build_command->parsed()) return build_calibration(set_arguments);
  if (sets_command->parsed()) return run_store_words({"calibration", "ls"}, *sets_command, sets_store);
  if (set_command->parsed()) return run_store_words({"calibration", "show"}, *set_command, sets_store);
  if (generate_command->parsed()) {
    EngineArguments engine = model_arguments("generate", model, store);
    const Passed pass{engine.arguments};
    pass.value("--prompt", prompt);
    pass.value("--max-tokens", max_tokens);
    pass.value("--temperature", temperature);
    pass.value("--top-p", top_p);
    pass.value("--top-k", top_k);
    pass.value("--seed", seed);
    pass.value("--arithmetic", arithmetic);
    pass.flag("--json", json);
    return run_engine(engine);
  }
  if (perplexity_command->parsed()) {
    check_exists(text, "--text");
    EngineArguments engine = model_arguments("perplexity", model, store);
    const Passed pass{engine.arguments};
    pass.value("--text", text);
    pass.value("--context", context);
    pass.value("--arithmetic", arithmetic);
    pass.flag("--json", json);
    return run_engine(engine);
  }
  EngineArguments engine;
  if (grade_command->parsed()) {
    if (completions.empty() == from.empty())
      throw Error(ErrorCode::bad_input,
                  "grade: give either --completions FILE or --from REF (kept completions of an artifact)");
    engine.verb = "grade";
    const Passed pass{engine.arguments};
    pass.value("--problems", problems);
    pass.value("--out", out);
    pass.flag("--allow-landlock", allow_landlock);
    pass.flag("--json", json);
    if (!from.empty())
      return regrade({from, store_directory(store), benchmark, evaluation, out, engine.arguments});
    if (benchmark.empty()) throw Error(ErrorCode::bad_input, "grade: --benchmark is missing");
    pass.value("--benchmark", benchmark);
    pass.value("--language", language);
    pass.value("--completions", completions);
    return run_engine(engine);
  }
  for (const auto& [command, verb] : {std::pair{layer_command, "bench-layer"}, std::pair{decode_command, "bench-decode"},
                                     std::pair{block_command, "bench-block"}, std::pair{sandbox_command, "bench-sandbox"}})
    if (command->parsed()) {
      engine.verb = verb;
      engine.arguments = command->remaining();
    }
  return run_engine(engine);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const Error& error) {
    std::cerr << "quench: " << error.what() << "\n";
    return exit_code(error.code());
  } catch (const std::exception& error) {
    std::cerr << "quench: " << error.what() << "\n";
    return exit_code(ErrorCode::internal);
  }
}
