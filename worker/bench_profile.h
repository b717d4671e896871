// `quench bench profile`: how fast this machine does the steps of a job, as a machine profile (schemas/machine_profile.h)
// that `quench plan` divides a job's counts by. Every rank of a gang calls it together, because ranks of one host share
// its memory and its caches. Rank 0 writes the profile into the scratch directory as profile.json, without what only a
// coordinator can measure: mpirun tags every piece of a line that it reads, also in the middle of a number.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "cluster/collective/collective.h"
#include "worker/verbs.h"

namespace quench::worker {

struct ProfileArguments {
  // "HIDDEN:INTERMEDIATE:HEADS:KVHEADS:VOCABULARY" of the models whose blocks are quantized, by rising size.
  std::vector<std::string> shapes = {"256:704:8:4:2048", "1024:2816:16:8:8192", "2048:5632:32:8:16384"};
  std::uint32_t length = 512;     // tokens of a calibration sequence
  std::filesystem::path scratch;  // a directory on the disk to measure
  bool evaluation = true;         // decoding and the sandbox too
  bool bf16 = true;               // rates of products of bf16 too, on a backend that has some
};
int bench_profile(const ComputeOptions& compute, const ProfileArguments& arguments, cluster::Collective& gang);

}  // namespace quench::worker
