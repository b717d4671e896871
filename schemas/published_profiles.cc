// Machines known by their makers' data sheets alone. A rate is a peak times a share of it: that which one block of 34B had on an
// H100 (README.md), taken for the others too, or an assumed one. A plan made with one of them says so.
#include "schemas/error.h"
#include "schemas/machine_profile.h"
#include "schemas/nearest_name.h"

namespace quench {
namespace {

// The `cuda` backend multiplies in TF32, sums Hessians of three bf16 products, factors and solves in fp32.
constexpr double kProductShare = 0.4;
constexpr double kHessianShare = 0.4, kBf16Products = 3;
constexpr double kFactorShare = 0.2, kSolveShare = 0.18;  // solving with losses, packing and the copies to and from the host
constexpr double kMemoryShare = 0.6;
constexpr double kLinkShare = 0.6;
// A 400 Gb/s network port for each GPU.
constexpr double kPortBytesPerS = 50e9, kPortShare = 0.7;
constexpr double kInsideMessageS = 15e-6, kBetweenMessageS = 30e-6;
// What a coordinator's host and disk are assumed to do.
constexpr double kMakeBytesPerS = 12e9;  // on sixteen cores
constexpr double kReadBytesPerS = 2e9, kStoreBytesPerS = 0.5e9, kScratchBytesPerS = 1e9, kCommitS = 0.01, kStartS = 20;
// A leaf is added to int64 sums: 8 bytes read, 8 written.
constexpr double kSumBytes = 16;

struct Accelerator {
  const char* name;
  const char* cpu;  // what stands in its place
  double fp32_flops, tf32_flops, bf16_flops;  // dense peaks
  double memory_bytes_per_s, memory_bytes;
  double link_bytes_per_s;  // NVLink, one direction
  double watts;             // of one, at its limit
};

constexpr Accelerator kAccelerators[] = {
    {"a100-80gb", "NVIDIA A100 SXM 80 GB", 19.5e12, 156e12, 312e12, 2.039e12, 80e9, 300e9, 400},
    {"h100-sxm", "NVIDIA H100 SXM 80 GB", 67e12, 494.5e12, 989.5e12, 3.35e12, 80e9, 450e9, 700},
    {"h200-sxm", "NVIDIA H200 SXM 141 GB", 67e12, 494.5e12, 989.5e12, 4.8e12, 141e9, 450e9, 700},
};
constexpr std::uint32_t kGpusOfHost = 8;
constexpr double kSize = 4096;

RateCurve everywhere(double value) { return {{{kSize, value}}}; }

}  // namespace

std::vector<std::string> published_profile_names() {
  std::vector<std::string> names;
  for (const Accelerator& one : kAccelerators) names.emplace_back(one.name);
  return names;
}

MachineProfile published_profile(std::string_view name) {
  for (const Accelerator& gpu : kAccelerators) {
    if (gpu.name != name) continue;
    MachineProfile profile;
    profile.host = "none";
    profile.cpu = gpu.cpu;
    profile.date = "none";
    profile.build = "none";
    profile.backend = "cuda";
    profile.is_measured = false;
    profile.origin =
        "published peaks of " + std::string(gpu.cpu) +
        " times shares of them: as measured on one H100, products 40 % of TF32, Hessians 40 % of bf16 in three products, "
        "factors 20 % and solving 18 % of fp32; assumed, memory and NVLink 60 %, 400 Gb/s between hosts 70 %; files read at "
        "2 GB/s, hidden states kept at 1 beside the next block, chunks stored at 0.5";
    profile.ranks = kGpusOfHost;
    profile.fp32.forward_flops = everywhere(gpu.tf32_flops * kProductShare);
    profile.fp32.hessian_flops = everywhere(gpu.bf16_flops / kBf16Products * kHessianShare);
    profile.fp32.hessian_sums = everywhere(gpu.memory_bytes_per_s * kMemoryShare / kSumBytes);
    profile.factor_flops = everywhere(gpu.fp32_flops * kFactorShare);
    profile.fp32.solve_flops = everywhere(gpu.fp32_flops * kSolveShare);
    profile.round_weights_per_s = kReadBytesPerS;  // a byte a weight through the host
    profile.read_bytes_per_s = kReadBytesPerS;
    profile.make_bytes_per_s = kMakeBytesPerS;
    profile.layout_bytes_per_s = kMakeBytesPerS;
    profile.scratch_bytes_per_s = kScratchBytesPerS;
    for (const std::uint32_t bits : {16u, 8u, 4u, 3u, 2u})
      profile.fp32.decode.push_back({bits, everywhere(bits / 8.0 / (gpu.memory_bytes_per_s * kMemoryShare)),
                                everywhere(2 / (gpu.tf32_flops * kProductShare))});
    profile.message_s = kInsideMessageS;
    profile.link_bytes_per_s = gpu.link_bytes_per_s * kLinkShare;
    profile.between_hosts_message_s = kBetweenMessageS;
    profile.between_hosts_bytes_per_s = kPortBytesPerS * kPortShare;
    profile.start_s = kStartS;
    profile.store_bytes_per_s = kStoreBytesPerS;
    profile.commit_s = kCommitS;
    profile.watts = kGpusOfHost * gpu.watts;
    profile.watts_note = "the GPUs' power limit all the time; hosts and network not counted";
    profile.memory_bytes = gpu.memory_bytes;
    return profile;
  }
  throw Error(ErrorCode::bad_input, "no machine \"" + std::string(name.substr(0, 60)) + "\"" +
                                        known_names(name, published_profile_names()));
}

}  // namespace quench
