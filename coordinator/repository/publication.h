// What this process publishes by itself: a job's artifacts, calibration sets, imported models. It signs them; people sign with
// `artifacts sign`.
#pragma once

#include <string>

#include "coordinator/store/artifact_store.h"
#include "schemas/artifact.h"

namespace quench::coordinator {

// Adds to `commit` the manifest, of which `bytes` are the encoding, its name, and a signature by the key that the environment's
// QUENCH_SIGNING_KEY names, if it names one. Throws Error(bad_input) for what is no such key. Gives the manifest's digest.
Digest add_published(Commit& commit, const std::string& name, const Manifest& manifest, const Bytes& bytes, std::uint64_t now_ms);

}  // namespace quench::coordinator
