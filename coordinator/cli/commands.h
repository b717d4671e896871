// The commands of `quench` (DESIGN.md section 7). Each takes parsed arguments, prints its result on
// stdout and returns the exit code; failures are thrown as Error and printed by main.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace quench::coordinator {

struct RunArguments {
  std::filesystem::path job;
  std::optional<std::uint32_t> ranks;
  std::optional<std::uint32_t> threads;
  std::filesystem::path store;
  std::optional<std::filesystem::path> report;
  std::string listen;          // ADDRESS:PORT for evaluation workers that join; empty: loopback only
  bool plain_network = false;  // `listen` may be reachable from other hosts, unencrypted
  bool json = false;
};
int run_job(const RunArguments& arguments);

struct PlanArguments {
  std::filesystem::path job;
  std::optional<std::uint32_t> ranks;
  std::filesystem::path store;  // for a job with a calibration set
  bool json = false;
};
int show_plan(const PlanArguments& arguments);

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

// The program `quench-worker`: the environment's QUENCH_WORKER, or beside this program. Throws
// Error(bad_input) when it is not there.
std::filesystem::path worker_program();
// --store, or the environment's QUENCH_STORE, or ./quench-store.
std::filesystem::path store_directory(const std::filesystem::path& given);

}  // namespace quench::coordinator
