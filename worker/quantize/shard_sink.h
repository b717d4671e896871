// Where a rank's finished work goes. The gang's ranks implement it over their connection to the
// coordinator; tests keep everything in memory. Compute thread only; every call may throw the Error
// that ended the connection.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "schemas/artifact.h"
#include "schemas/messages.h"

namespace quench::worker {

class ShardSink {
 public:
  virtual ~ShardSink() = default;
  // Hands over a chunk; may return before it is stored.
  virtual void put_chunk(const Digest& digest, std::vector<std::uint8_t> bytes) = 0;
  // Waits until everything put so far is in the store.
  virtual void wait_until_stored() = 0;
  // Rank 0 only; each waits until the coordinator has committed.
  virtual void commit_outer(const OuterDone& done) = 0;
  virtual void commit_block(const BlockDone& done) = 0;
  virtual void finish_artifact(const ArtifactDone& done) = 0;
  // Rank 0 only: what is being done now.
  virtual void report_step(std::uint32_t artifact, std::uint32_t block, const std::string& step) = 0;
  virtual void log(const std::string& line) = 0;
};

}  // namespace quench::worker
