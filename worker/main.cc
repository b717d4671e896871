// quench-worker: one rank of a gang (`gang`, started by mpirun or srun), an evaluation worker (`evaluate`), or
// the child of a `quench` command that needs the engine (`generate`, `perplexity`, `grade`,
// `calibration-build`, `bench-layer`, `bench-decode`, `bench-block`).
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>

#include "cluster/collective/local.h"
#include "cluster/collective/mpi_session.h"
#include "cluster/collective/nccl_transport.h"
#include "cluster/net/process_guard.h"
#include "schemas/error.h"
#include "worker/bench_profile.h"
#include "worker/build.h"
#include "worker/evaluation_size.h"
#include "worker/memory_use.h"
#include "worker/join.h"
#include "worker/status_reports.h"
#include "worker/task_runner.h"
#include "worker/verbs.h"

namespace {

using namespace quench;
using namespace quench::worker;

constexpr std::chrono::milliseconds kEndAfterLoss{5'000};

struct GangArguments {
  std::string coordinator;
  std::uint32_t attempt = 0;
  std::uint32_t progress_seconds = 120;
  std::uint32_t reconnect_seconds = 0;
};

std::string read_secret() {
  const char* path = std::getenv("QUENCH_GANG_SECRET_FILE");
  if (path == nullptr)
    throw Error(ErrorCode::bad_input,
                "QUENCH_GANG_SECRET_FILE is not set: ranks are started by `quench run`, not by hand");
  std::ifstream in(path, std::ios::binary);
  std::string secret((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (!in || secret.empty()) throw Error(ErrorCode::bad_input, std::string("no secret in ") + path);
  return secret;
}

// QUENCH_COLLECTIVE: "mpi" (the default) or "nccl", which needs one GPU for each rank of a host. `over_mpi` stays in use
// for what the communicators need to find each other.
std::unique_ptr<cluster::Collective> make_gang(std::unique_ptr<cluster::Collective>& over_mpi,
                                               const cluster::CollectiveOptions& options) {
  const char* text = std::getenv("QUENCH_COLLECTIVE");
  const std::string wanted = text == nullptr || *text == '\0' ? "mpi" : text;
  if (wanted == "mpi") return std::move(over_mpi);
  if (wanted == "nccl") return cluster::make_nccl_collective(*over_mpi, gpu_of_rank(), options);
  throw Error(ErrorCode::bad_input, "QUENCH_COLLECTIVE is \"" + wanted + "\", expected mpi or nccl");
}

int run_gang(const ComputeOptions& compute, const GangArguments& arguments) {
  // mpirun's daemon started us; when it goes, so do we.
  cluster::die_with_parent(SIGKILL);
  cluster::MpiSession session;
  cluster::AbortFlag abort;
  std::unique_ptr<Service> service;
  bool dialled = false;
  const auto join = [&](const std::string& isa) {
    dialled = true;
    ServiceOptions options;
    options.coordinator = cluster::Endpoint::parse(arguments.coordinator);
    options.attempt = AttemptNumber{arguments.attempt};
    options.secret = read_secret();
    options.hello = describe_self(isa, PeerRole::rank);
    options.hello.rank = RankId{session.rank(), session.world()};
    options.exit_after_loss = kEndAfterLoss;
    options.reconnect = std::chrono::seconds(arguments.reconnect_seconds);
    const std::filesystem::path folder = std::filesystem::path(std::getenv("QUENCH_GANG_SECRET_FILE")).parent_path();
    options.endpoint_file = folder / "endpoint";
    options.certificate = folder / "certificate";
    service = std::make_unique<Service>(options, &abort);
  };
  // Errors are told here and not in main: an exception that left the session would abort it unheard.
  const auto end_gang = [&](const Error& error) -> int {
    // One write: mpirun tags every piece it reads.
    std::cerr << "quench-worker: rank " + std::to_string(session.rank()) + ": " + error.what() + "\n";
    // A rank without a backend joins to say why it ends: an exit code tells the coordinator too little.
    if (!dialled) try {
        join("none");
      } catch (const Error&) {
      }
    if (service) service->report_failure(error);
    session.abort(exit_code(error.code()));
  };
  try {
    const std::unique_ptr<kernels::Backend> backend = make_backend(compute.threads, compute.backend);
    cluster::CollectiveOptions collective_options;
    collective_options.progress_ms_max = arguments.progress_seconds * 1000;
    collective_options.abort = &abort;
    std::unique_ptr<cluster::Collective> over_mpi = session.make_collective(collective_options);
    const std::unique_ptr<cluster::Collective> gang = make_gang(over_mpi, collective_options);

    join(std::string(backend->name()));
    const StatusReports reports(*service);
    TaskRunner(*backend, *gang, *service).run();
    return 0;
  } catch (const Error& error) {
    return end_gang(error);
  } catch (const kernels::DeviceMemoryError& error) {
    return end_gang(Error(ErrorCode::bad_input, error.what()));
  } catch (const kernels::DeviceError& error) {
    return end_gang(Error(ErrorCode::failed, error.what()));
  } catch (const std::exception& error) {
    return end_gang(Error(ErrorCode::internal, error.what()));
  }
}

void add_model(CLI::App& verb, ModelChoice& model) {
  verb.add_option("--model", model.directory, "Hugging Face directory");
  verb.add_option("--ref", model.ref, "artifact of the store at --coordinator");
  verb.add_option("--coordinator", model.coordinator, "socket of the store's owner");
}

int run(int argc, char** argv) {
  CLI::App app{"quench-worker: the engine behind quench", "quench-worker"};
  app.require_subcommand(1);
  ComputeOptions compute;
  compute.threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  app.add_option("--threads", compute.threads, "compute threads")->check(CLI::Range(1, 1024));
  app.add_option("--backend", compute.backend, "scalar, avx2, avx512, cuda or cuda-exact; default: the best of the CPU's");

  GangArguments gang;
  CLI::App* gang_verb = app.add_subcommand("gang", "one rank of a gang");
  gang_verb->add_option("--coordinator", gang.coordinator)->required();
  gang_verb->add_option("--attempt", gang.attempt)->required();
  gang_verb->add_option("--progress-seconds", gang.progress_seconds)->check(CLI::Range(1, 86'400));

  gang_verb->add_option("--reconnect-seconds", gang.reconnect_seconds,
                        "how long to wait for the next coordinator when this one is lost")
      ->check(CLI::Range(0, 86'400));

  JoinArguments joining;
  CLI::App* evaluate_verb = app.add_subcommand("evaluate", "join a running job and evaluate for it");
  evaluate_verb->add_option("--join", joining.folder, "the folder join of the store that the job runs on");
  evaluate_verb->add_option("--coordinator", joining.coordinator, "HOST:PORT, instead of the folder's");
  evaluate_verb->add_option("--certificate", joining.certificate,
                            "of an encrypted coordinator, instead of the file beside the secret");
  evaluate_verb->add_option("--secret-file", joining.secret_file,
                            "instead of the folder's; default: $QUENCH_JOIN_SECRET_FILE");
  evaluate_verb->add_option("--slot", joining.slot, "given by a coordinator to workers that it starts");
  evaluate_verb->add_flag("--numbered", joining.numbered, "the same, by srun or mpirun, whose task number is the slot");
  evaluate_verb->add_option("--cache", joining.cache_dir, "directory that keeps chunks between artifacts and jobs");
  evaluate_verb->add_option("--wait", joining.wait_seconds,
                            "seconds to wait for a coordinator, also for the next one after a loss");

  GenerateArguments generating;
  CLI::App* generate_verb = app.add_subcommand("generate", "continue a prompt");
  add_model(*generate_verb, generating.model);
  generate_verb->add_option("--prompt", generating.prompt)->required();
  generate_verb->add_option("--max-tokens", generating.max_tokens);
  generate_verb->add_option("--temperature", generating.temperature);
  generate_verb->add_option("--top-p", generating.top_p);
  generate_verb->add_option("--top-k", generating.top_k);
  generate_verb->add_option("--seed", generating.seed);
  generate_verb->add_flag("--json", generating.json);

  PerplexityArguments measuring;
  CLI::App* perplexity_verb = app.add_subcommand("perplexity", "how well a model predicts a text");
  add_model(*perplexity_verb, measuring.model);
  perplexity_verb->add_option("--text", measuring.text)->required();
  perplexity_verb->add_option("--context", measuring.context);
  perplexity_verb->add_flag("--json", measuring.json);

  GradeArguments grading;
  CLI::App* grade_verb = app.add_subcommand("grade", "execute given completions");
  grade_verb->add_option("--benchmark", grading.benchmark)->required();
  grade_verb->add_option("--language", grading.language);
  grade_verb->add_option("--problems", grading.problems);
  grade_verb->add_option("--completions", grading.completions)->required();
  grade_verb->add_option("--out", grading.out)->required();
  grade_verb->add_option("--settings", grading.settings, "job file of the evaluation that is graded again");
  grade_verb->add_flag("--allow-landlock", grading.allow_landlock);
  grade_verb->add_flag("--json", grading.json);

  BuildCalibrationArguments calibrating;
  std::string calibration_kind = "random";
  CLI::App* calibration_verb = app.add_subcommand("calibration-build", "make a calibration set");
  calibration_verb->add_option("--kind", calibration_kind)->required()->check(CLI::IsMember({"random", "code", "mixed"}));
  calibration_verb->add_option("--from", calibrating.from)->required()->take_all();
  calibration_verb->add_option("--tokenizer", calibrating.tokenizer)->required();
  calibration_verb->add_option("--sequences", calibrating.sequences);
  calibration_verb->add_option("--length", calibrating.length);
  calibration_verb->add_option("--seed", calibrating.seed);
  calibration_verb->add_option("--files-per-repository", calibrating.files_per_repository);
  calibration_verb->add_option("--min-score", calibrating.score_min);
  calibration_verb->add_option("--out", calibrating.out)->required();

  BenchSandboxArguments sandboxes;
  CLI::App* sandbox_verb = app.add_subcommand("bench-sandbox", "programs per second");
  sandbox_verb->add_option("--sandboxes", sandboxes.sandboxes)->check(CLI::Range(0, 1024));
  sandbox_verb->add_option("--rounds", sandboxes.rounds)->check(CLI::Range(1, 1000));
  sandbox_verb->add_flag("--allow-landlock", sandboxes.allow_landlock);
  sandbox_verb->add_flag("--json", sandboxes.json);

  BenchLayerArguments layer;
  CLI::App* layer_verb = app.add_subcommand("bench-layer", "quantize one linear");
  std::string method = "gptq", scale_rule = "range";
  bool asymmetric = false;
  layer_verb->add_option("--input", layer.input)->required();
  layer_verb->add_option("--method", method)->check(CLI::IsMember({"gptq", "rtn", "int8", "aqlm"}));
  layer_verb->add_option("--codebooks", layer.recipe.codebooks, "aqlm")->check(CLI::Range(1u, kCodebooksMax));
  layer_verb->add_option("--codebook-bits", layer.recipe.codebook_bits, "aqlm")->check(CLI::Range(1u, kCodebookBitsMax));
  layer_verb->add_option("--tolerance", layer.recipe.tolerance, "aqlm: a round that gains less is the last");
  layer_verb->add_option("--seed", layer.recipe.seed, "aqlm");
  layer_verb->add_option("--bits", layer.recipe.bits)->check(CLI::IsMember({2, 3, 4, 8}));
  layer_verb->add_option("--group-size", layer.recipe.group_size);
  layer_verb->add_option("--damping", layer.recipe.damping);
  layer_verb->add_flag("--asymmetric", asymmetric);
  layer_verb->add_flag("--act-order", layer.recipe.act_order);
  layer_verb->add_option("--scale-rule", scale_rule)->check(CLI::IsMember({"range", "search"}));
  layer_verb->add_option("--out", layer.out);
  layer_verb->add_flag("--json", layer.json);

  BenchDecodeArguments decode;
  ModelConfig& shape = decode.config;
  shape.hidden_size = 2048;
  shape.intermediate_size = 5632;
  shape.layers = 16;
  shape.heads = 32;
  shape.kv_heads = 8;
  shape.vocab_size = 32'000;
  shape.max_positions = 4096;
  CLI::App* decode_verb = app.add_subcommand("bench-decode", "tokens per second of a random packed model");
  decode_verb->add_option("--hidden", shape.hidden_size)->check(CLI::Range(16, 65'536));
  decode_verb->add_option("--intermediate", shape.intermediate_size)->check(CLI::Range(16, 262'144));
  decode_verb->add_option("--layers", shape.layers)->check(CLI::Range(1, 1024));
  decode_verb->add_option("--heads", shape.heads)->check(CLI::Range(1, 1024));
  decode_verb->add_option("--kv-heads", shape.kv_heads)->check(CLI::Range(1, 1024));
  decode_verb->add_option("--vocabulary", shape.vocab_size)->check(CLI::Range(128, 1'000'000));
  decode_verb->add_option("--bits", decode.bits)->check(CLI::IsMember({2, 3, 4, 8}));
  decode_verb->add_option("--group-size", decode.group_size);
  decode_verb->add_option("--batch", decode.batches, "batch sizes, 1 8 32 by default")->check(CLI::Range(1, 64));
  decode_verb->add_option("--tokens", decode.tokens, "new tokens of each sequence")->check(CLI::Range(2, 2048));
  decode_verb->add_flag("--json", decode.json);
  BenchBlockArguments block;
  ModelConfig& block_shape = block.config;
  block_shape.hidden_size = 8192;
  block_shape.intermediate_size = 22'016;
  block_shape.heads = 64;
  block_shape.kv_heads = 8;
  block_shape.vocab_size = 32'000;
  block_shape.max_positions = 16'384;
  CLI::App* block_verb = app.add_subcommand("bench-block", "quantize one block of random weights; may run under mpirun");
  block_verb->add_option("--hidden", block_shape.hidden_size)->check(CLI::Range(16, 65'536));
  block_verb->add_option("--intermediate", block_shape.intermediate_size)->check(CLI::Range(16, 262'144));
  block_verb->add_option("--heads", block_shape.heads)->check(CLI::Range(1, 1024));
  block_verb->add_option("--kv-heads", block_shape.kv_heads)->check(CLI::Range(1, 1024));
  block_verb->add_option("--bits", block.recipe.bits)->check(CLI::IsMember({2, 3, 4, 8}));
  block_verb->add_option("--group-size", block.recipe.group_size);
  block_verb->add_flag("--act-order", block.recipe.act_order);
  block_verb->add_option("--sequences", block.sequences)->check(CLI::Range(1, 4096));
  block_verb->add_option("--length", block.length, "tokens of a sequence")->check(CLI::Range(1, 16'384));
  block_verb->add_flag("--json", block.json);
  ProfileArguments profile;
  CLI::App* profile_verb = app.add_subcommand("bench-profile", "the rates that plans are made of; may run under mpirun");
  profile_verb->add_option("--shape", profile.shapes, "HIDDEN:INTERMEDIATE:HEADS:KVHEADS:VOCABULARY, by rising size");
  profile_verb->add_option("--length", profile.length, "tokens of a calibration sequence")->check(CLI::Range(1, 16'384));
  profile_verb->add_option("--scratch", profile.scratch, "a directory on the disk to measure")->required();
  profile_verb->add_flag("!--no-evaluation", profile.evaluation, "neither decoding nor the sandbox");
  profile_verb->add_flag("!--no-bf16", profile.bf16, "no products of bf16");
  std::filesystem::path sized_job;
  CLI::App* size_verb = app.add_subcommand("evaluation-size", "tasks and tokens of a job's evaluations");
  size_verb->add_option("job", sized_job, "JOB.json")->required();
  for (CLI::App* verb : {generate_verb, perplexity_verb, layer_verb, decode_verb, block_verb})
    verb->add_option_function<std::string>(
            "--arithmetic", [&](const std::string& name) { compute.arithmetic = name == "bf16" ? Arithmetic::bf16 : Arithmetic::fp32; },
            "what products are of: fp32, or bf16 (CPU only)")
        ->check(CLI::IsMember({"fp32", "bf16"}));
  // `quench bench` passes words on behind the verb.
  for (CLI::App* verb : {layer_verb, decode_verb, block_verb}) verb->fallthrough();

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : exit_code(ErrorCode::bad_input);
  }
  if (gang_verb->parsed()) return run_gang(compute, gang);
  if (joining.numbered) joining.slot = task_number();
  // A child of `quench` must not outlive it; an evaluation worker that joins by itself is nobody's child.
  if (!evaluate_verb->parsed() || joining.slot) cluster::die_with_parent(SIGTERM);
  if (evaluate_verb->parsed()) return join_evaluation(compute, joining);
  if (generate_verb->parsed()) return generate(compute, generating);
  if (perplexity_verb->parsed()) return perplexity(compute, measuring);
  if (grade_verb->parsed()) return grade(compute, grading);
  if (calibration_verb->parsed()) {
    for (const CalibrationKind kind : {CalibrationKind::random, CalibrationKind::code, CalibrationKind::mixed})
      if (to_string(kind) == calibration_kind) calibrating.kind = kind;
    return build_calibration_set(calibrating);
  }
  block.recipe.arithmetic = layer.recipe.arithmetic = compute.arithmetic;
  if (decode_verb->parsed()) return bench_decode(compute, decode);
  if (block_verb->parsed() || profile_verb->parsed()) {
    const auto measure = [&](cluster::Collective& collective) {
      return block_verb->parsed() ? bench_block(compute, block, collective) : bench_profile(compute, profile, collective);
    };
    // mpirun says so in the environment; alone MPI is not touched.
    if (std::getenv("OMPI_COMM_WORLD_SIZE") == nullptr) return measure(*cluster::make_local_collective());
    cluster::MpiSession session;
    try {
      return measure(*session.make_collective({}));
    } catch (const Error& error) {
      // As in run_gang: outside of the session it would not be heard.
      std::cerr << "quench-worker: rank " + std::to_string(session.rank()) + ": " + error.what() + "\n";
      session.abort(exit_code(error.code()));
    }
  }
  if (size_verb->parsed()) return print_evaluation_sizes(sized_job);
  if (sandbox_verb->parsed()) return bench_sandbox(compute, sandboxes);
  layer.recipe.method = method == "int8"   ? Method::int8
                        : method == "rtn"  ? Method::rtn
                        : method == "aqlm" ? Method::aqlm
                                           : Method::gptq;
  if (layer.recipe.method == Method::aqlm && layer_verb->count("--group-size") == 0) layer.recipe.group_size = kAdditiveGroupSize;
  layer.recipe.symmetric = !asymmetric;
  layer.recipe.scale_rule = scale_rule == "search" ? ScaleRule::search : ScaleRule::range;
  return bench_layer(compute, layer);
}

}  // namespace

int main(int argc, char** argv) {
  return_large_buffers();
  try {
    return run(argc, argv);
  } catch (const Error& error) {
    std::cerr << "quench-worker: " << error.what() << "\n";
    return exit_code(error.code());
  } catch (const kernels::DeviceMemoryError& error) {
    std::cerr << "quench-worker: " << error.what() << "\n";
    return exit_code(ErrorCode::bad_input);
  } catch (const kernels::DeviceError& error) {
    std::cerr << "quench-worker: " << error.what() << "\n";
    return exit_code(ErrorCode::failed);
  } catch (const std::exception& error) {
    std::cerr << "quench-worker: " << error.what() << "\n";
    return exit_code(ErrorCode::internal);
  }
}
