// What is kept of an artifact's evaluations, and the completions among it as JSON lines that `quench grade` takes:
// programs can be executed again, after a fix of a sandbox or under another problem file, without a model.
#pragma once

#include <string>
#include <vector>

#include "coordinator/store/artifact_store.h"
#include "schemas/artifact.h"

namespace quench::coordinator {

struct KeptEvaluation {
  EvaluationKey key;
  Digest digest;                      // evaluation_digest(key): the verdicts' place
  std::vector<std::string> task_ids;  // of the whole benchmark
};

// Every evaluation that any job of the store opened on this artifact, each once, those on earlier problem
// files of a benchmark too.
std::vector<KeptEvaluation> kept_evaluations(const ArtifactStore& store, const Digest& artifact);

struct CompletionsChoice {
  std::string benchmark;   // empty: any
  std::string evaluation;  // a prefix of its digest; empty: any
};

// The one that is meant. Throws Error(bad_input) when none fits, or several do: then they are listed.
KeptEvaluation choose_evaluation(const ArtifactStore& store, const Digest& artifact,
                                 const CompletionsChoice& choice);

// A job with this evaluation and nothing else, so that its settings can be written as a job file.
JobSpec settings_job(const KeptEvaluation& evaluation);

// One line for each verdict, by task and sample: "task_id", "completion" (as it was executed), "sample", the
// "output" of the model where the cut took something away, "benchmark", "language", and what was found then:
// "kept_result".
std::string completions_to_json_lines(const ArtifactStore& store, const KeptEvaluation& evaluation);

}  // namespace quench::coordinator
