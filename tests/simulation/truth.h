// What there is to be computed in a simulated job: everything a worker hands over is a function of its place in the job, so
// that whoever computes it, and however often, it is the same.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "schemas/artifact.h"
#include "schemas/codec.h"
#include "schemas/messages.h"

namespace quench::simulation {

// An invariant does not hold.
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Shape {
  std::uint32_t recipes = 1;  // beside the baseline
  std::uint32_t blocks = 2;
  std::uint32_t tensors = 2;  // of a block
  std::uint32_t evaluations = 1;
  std::uint32_t tasks = 4;
  std::uint32_t samples = 1;
  std::uint32_t lease_items = 2;
  auto operator<=>(const Shape&) const = default;
};

JobSpec job_of(const Shape& shape);
Bytes chunk_of(const std::string& tensor);
// `block` kOuterBlock: outside the blocks.
std::vector<TensorRecord> tensors_of(const Shape& shape, std::uint32_t artifact, std::uint32_t block);
Digest benchmark_of(std::uint32_t evaluation);
std::vector<std::string> tasks_of(const Shape& shape);
Verdict verdict_of(const Digest& artifact, std::uint32_t evaluation, const LeaseItem& item);

}  // namespace quench::simulation
