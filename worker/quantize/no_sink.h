// Takes what a coordinator would store, and keeps nothing of it: for blocks that are only measured or asked for a gradient.
#pragma once

#include "worker/quantize/shard_sink.h"

namespace quench::worker {

class NoSink final : public ShardSink {
 public:
  void put_chunk(const Digest&, std::vector<std::uint8_t>) override {}
  void wait_until_stored() override {}
  void commit_outer(const OuterDone&) override {}
  void commit_block(const BlockDone&) override {}
  void finish_artifact(const ArtifactDone&) override {}
  void report_step(std::uint32_t, std::uint32_t, const std::string&) override {}
  void log(const std::string&) override {}
};

}  // namespace quench::worker
