// Where an artifact comes from and what is known about it: its manifest, the job that made it, run records, names,
// scores. Read from the store's records; nothing is computed from weights.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/store/artifact_store.h"
#include "schemas/artifact.h"
#include "schemas/job_spec.h"

namespace quench::coordinator {

struct KnownScore {
  EvaluateSpec spec;
  Digest evaluation;
  Digest benchmark;  // of the problem file
  std::uint64_t tasks = 0;
  std::optional<double> pass_at_1;  // none while verdicts are missing
};

struct Lineage {
  Digest digest;
  Manifest manifest;
  std::optional<std::uint64_t> collected_ms;
  std::vector<Ref> names;
  std::optional<JobSpec> job;  // that published it here; none for what was pulled or imported
  std::vector<RunRecord> runs;
  std::vector<KnownScore> scores;

  // The model directory's name or the endpoint's URL; the digest's beginning where no job tells.
  std::string model_name() const;
  double mean_relative_loss() const;  // over linears; 0 without losses
};

// Reads every journal once, so that many artifacts can be asked about. One thread; the store must outlive it.
class Lineages {
 public:
  explicit Lineages(const ArtifactStore& store);
  // Throws as ArtifactStore::get_object and decode_manifest.
  Lineage of(const Digest& digest) const;
  const std::vector<Ref>& refs() const { return refs_; }

 private:
  struct OpenedEvaluation {
    EvaluateSpec spec;
    Digest benchmark;
    std::vector<std::string> task_ids;
  };
  struct Made {
    std::optional<JobSpec> job;
    std::vector<OpenedEvaluation> evaluations;
  };

  const ArtifactStore& store_;
  std::vector<Ref> refs_;
  std::map<Digest, Made> made_;
};

}  // namespace quench::coordinator
