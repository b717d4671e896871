// Signing what this process publishes by itself: a job's artifacts, calibration sets. People sign with `artifacts sign`.
#pragma once

#include <string>

#include "coordinator/store/artifact_store.h"
#include "schemas/artifact.h"

namespace quench::coordinator {

// Adds a signature by the key that the environment's QUENCH_SIGNING_KEY names to what `commit` publishes; nothing when it
// names none. Throws Error(bad_input) for what is no such key.
void sign_published(Commit& commit, const std::string& name, const Digest& digest, const Manifest& manifest);

}  // namespace quench::coordinator
