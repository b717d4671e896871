// Reads a job's artifacts, verdicts and journal from the store into a JobReport. No gang needed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "coordinator/report/report.h"
#include "coordinator/state.h"
#include "coordinator/store/artifact_store.h"

namespace quench::coordinator {

// Of a job whose every artifact is published and whose evaluations were opened, with pass@k for every k of
// `ks`. Throws Error(failed) naming what is missing, Error(bad_input) for a k that the samples do not allow.
JobReport report_job(const ArtifactStore& store, const State& state, std::span<const std::uint32_t> ks = {});

// Artifacts alone, as `quench report REF...` takes them: with every evaluation that their jobs hold.
JobReport report_refs(const ArtifactStore& store, const std::vector<std::string>& refs,
                      std::span<const std::uint32_t> ks = {});

}  // namespace quench::coordinator
