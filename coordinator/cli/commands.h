// The commands of `quench` (DESIGN.md section 7). Each takes parsed arguments, prints its result on
// stdout and returns the exit code; failures are thrown as Error and printed by main.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "schemas/job_spec.h"
#include "schemas/machine_profile.h"

namespace quench::coordinator {

struct RunArguments {
  std::filesystem::path job;
  std::optional<std::uint32_t> ranks;
  std::optional<std::uint32_t> threads;
  std::filesystem::path store;
  std::optional<std::filesystem::path> report;
  std::string launcher = "auto";           // auto, local, slurm
  std::filesystem::path slurm_template;    // slurm only; empty: the built-in one
  std::vector<std::string> hosts;          // HOST[:RANKS], by ssh
  std::string listen;          // ADDRESS:PORT for processes of other hosts; empty: loopback only
  bool plain_network = false;  // `listen` may be reachable from other hosts, unencrypted
  std::filesystem::path tls_certificate;  // PEM: `listen` is encrypted
  std::filesystem::path tls_key;
  bool json = false;
};
int run_job(const RunArguments& arguments);

struct PlanArguments {
  std::filesystem::path job;
  std::optional<std::uint32_t> ranks;
  std::optional<std::uint32_t> threads;
  std::string machine;          // a profile's file, or a machine known by published figures; empty: measured here
  bool sizes = false;           // no times: nothing is measured
  bool table = false;           // for 1, 2, 4 ... 64 ranks
  std::filesystem::path store;  // whose disk is measured, and where the job's calibration set is
  bool json = false;
};
int show_plan(const PlanArguments& arguments);

// What `quench bench profile` and a plan without a profile measure.
struct MeasureArguments {
  std::uint32_t ranks = 1;
  std::uint32_t threads = 1;
  std::vector<std::string> shapes;  // as quench-worker bench-profile takes them; empty: its own
  std::uint32_t length = 512;
  bool evaluation = true;
  bool bf16 = true;             // products of bf16 too, where there are any
  std::filesystem::path store;  // its disk is measured
};
MachineProfile measure_machine(const MeasureArguments& arguments);

struct BenchProfileArguments {
  MeasureArguments measure;
  std::filesystem::path out;  // empty: stdout
};
int bench_profile(const BenchProfileArguments& arguments);

struct BenchStoreArguments {
  std::filesystem::path store;  // whose disk is measured, in a directory of its own beside it
  std::uint32_t mebibytes = 256;
  std::uint64_t open_chunks = 0;  // also opens a store of so many small chunks
  bool json = false;
};
int bench_store(const BenchStoreArguments& arguments);

struct ReportArguments {
  std::vector<std::string> refs;
  std::filesystem::path store;
  std::optional<std::filesystem::path> out;
  std::vector<std::string> formats;        // of the files in `out`; empty: all
  std::vector<std::uint32_t> ks;           // of pass@k, beside 1
  std::string protocol;                    // whose tables to give, beside those of the artifacts' own jobs
  std::optional<double> carbon_intensity;  // g CO2e per kWh, instead of the world's average
  std::string carbon_source;               // who says so, and of when it is
  bool json = false;
};
int write_report(const ReportArguments& arguments);

struct CompareArguments {
  std::vector<std::string> subjects;  // refs, or files that `quench grade` wrote
  std::filesystem::path store;
  std::vector<std::uint32_t> ks;
  bool json = false;
};
int compare(const CompareArguments& arguments);

// `generate`, `perplexity`, `grade`, `bench layer`: a child of the engine with these arguments. `ref`
// names an artifact of the store which the child may read.
struct EngineArguments {
  std::string verb;
  std::vector<std::string> arguments;
  std::optional<std::string> ref;
  std::filesystem::path store;
};
int run_engine(const EngineArguments& arguments);

// `quench grade --from REF`: executes the completions that are kept of an artifact again, without a model, and
// says which verdicts are others than the kept ones. `arguments` go to the engine's verb `grade`.
struct RegradeArguments {
  std::string ref;
  std::filesystem::path store;
  std::string benchmark;
  std::string evaluation;  // prefix of its digest
  std::filesystem::path out;
  std::vector<std::string> arguments;
};
int regrade(const RegradeArguments& arguments);

// The same without arguments of an artifact; its standard output is returned. Throws Error with the child's exit code's
// meaning when it fails; what it says on stderr has been shown by then.
std::string engine_output(const std::vector<std::string>& words);

// The job with --ranks in place of its own. Throws Error(bad_input).
JobSpec read_job_for(const std::filesystem::path& file, std::optional<std::uint32_t> ranks);
// --threads, or the job's, or this host's cores divided by the ranks.
std::uint32_t threads_per_rank(const JobSpec& job, std::optional<std::uint32_t> threads);

// The program `quench-worker`: the environment's QUENCH_WORKER, or beside this program. Throws
// Error(bad_input) when it is not there.
std::filesystem::path worker_program();
// --store, or the environment's QUENCH_STORE, or ./quench-store.
std::filesystem::path store_directory(const std::filesystem::path& given);

}  // namespace quench::coordinator
