// `quench-worker evaluate`: how an evaluation worker finds its coordinator, and what it does when that goes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "worker/verbs.h"

namespace quench::worker {

// In the environment of workers that the coordinator starts.
inline constexpr char kJoinSecretVariable[] = "QUENCH_JOIN_SECRET_FILE";

struct JoinArguments {
  std::filesystem::path folder;  // STORE/join of a running `quench run`: its files `endpoint` and `secret`
  std::string coordinator;       // instead of the folder's endpoint: HOST:PORT or tcp://HOST:PORT
  std::filesystem::path secret_file;  // instead of the folder's secret and of QUENCH_JOIN_SECRET_FILE
  std::filesystem::path certificate;  // PEM, of an encrypted coordinator; empty: the file beside the secret
  std::optional<std::uint32_t> slot;  // given by the coordinator that started us
  bool numbered = false;              // the coordinator started us through a launcher, whose number is our slot
  std::filesystem::path cache_dir;    // keeps chunks between evaluations and jobs; empty: nowhere
  std::uint32_t wait_seconds = 0;     // how long to try while there is no coordinator, before and after a loss
};

// Our number among the tasks that srun or mpirun started. Throws Error(bad_input) when neither did.
std::uint32_t task_number();

// Evaluates until the coordinator has no more work. Returns the exit code; throws the Error that ended it.
int join_evaluation(const ComputeOptions& compute, const JoinArguments& arguments);

}  // namespace quench::worker
