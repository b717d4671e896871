// `artifacts show`, `diff` and `sharing`: one artifact with everything known of it, two beside each other, and what
// artifacts have in common.
#pragma once

#include <string>
#include <vector>

#include "coordinator/repository/lineage.h"

namespace quench::coordinator {

std::string describe_lineage(const ArtifactStore& store, const std::string& ref, bool json);

// What differs: inputs, recipe field by field, tensors by their bytes with bits and losses, scores. Scores are only put
// side by side; whether a difference means anything is `quench compare`'s to say.
std::string describe_difference(const ArtifactStore& store, const std::string& a, const std::string& b, bool json);

// How many bytes the artifacts would take apart, and how many they take together; all named models without `refs`.
std::string describe_sharing(const ArtifactStore& store, std::vector<std::string> refs, bool json);

}  // namespace quench::coordinator
