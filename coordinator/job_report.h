// Reads a job's artifacts, verdicts and journal from the store into a JobReport. No gang needed.
#pragma once

#include "coordinator/scoring/scoreboard.h"
#include "coordinator/state.h"
#include "coordinator/store/artifact_store.h"

namespace quench::coordinator {

// Of a job whose every artifact is published and whose evaluations were opened. Throws
// Error(failed) naming what is missing.
JobReport report_job(const ArtifactStore& store, const State& state);

// Artifacts alone, as `quench report REF...` takes them: with every evaluation that their jobs hold.
JobReport report_refs(const ArtifactStore& store, const std::vector<std::string>& refs);

}  // namespace quench::coordinator
