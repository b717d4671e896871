// What a job file must satisfy beyond the types of its keys.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "schemas/job_spec.h"
#include "schemas/json_document.h"

namespace quench {

// Where the keys that the file really holds are, by JSON pointer; the file's root is "".
using JsonPlaces = std::map<std::string, JsonPlace>;

// Adds every mistake of meaning to `mistakes`: ranges, methods with settings they do not have, missing
// calibration text, names that cannot be refs, equal names, keys against the protocol. Keys with a mistake
// already are left alone.
void check_job(const JobSpec& job, const JsonPlaces& places, std::vector<JsonMistake>& mistakes);

// Fills in what the file may leave out: absolute paths (relative ones lie in `base_dir`), the job's name
// (the model directory's), the settings that a method fixes, and what the protocol says. The job is one in
// which check_job found no mistake; `places` tells what its file left out.
JobSpec completed_job(JobSpec job, const JsonPlaces& places, const std::filesystem::path& base_dir);

}  // namespace quench
