// Calibration sets as the store keeps them: manifests with a record instead of a model (schemas/artifact.h).
// Taking one over that the engine has made, finding the one a job asks for, showing what there is. Event-loop
// thread, or a command's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "coordinator/store/artifact_store.h"
#include "schemas/artifact.h"
#include "schemas/job_spec.h"

namespace quench::coordinator {

// Puts the set that lies in `directory` (`manifest`, and `chunks/` by digest, as the engine's verb
// calibration-build writes them) into the store under `name`: all of it in one commit, or nothing. Returns
// its digest. Throws Error(bad_input) when the name is that of something else, Error(corrupt) when a file is
// not what it is called.
Digest adopt_set(ArtifactStore& store, const std::filesystem::path& directory, const std::string& name,
                 std::uint64_t now_ms);

// `job` with its calibration set named by digest, and sequences, length, seed and kind as they are; a job
// without a set stays as it is. A set is looked for by name or digest, or else by kind, sequences, length,
// seed and the model's tokenizer. Throws Error(bad_input) when there is none or more than one, when it is
// smaller than what the job asks for, or made for another tokenizer than the model's.
JobSpec with_calibration_set(const ArtifactStore& store, JobSpec job);

// One line for each set that has a name; and everything about one, with its documents' lines when asked for.
std::string list_sets(const ArtifactStore& store, bool json);
std::string show_set(const ArtifactStore& store, const std::string& ref, bool documents, bool json);

}  // namespace quench::coordinator
