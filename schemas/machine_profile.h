// How fast one machine does the steps of a job: measured by `quench bench profile`, or made of published figures for a
// machine that nobody has at hand. `quench plan` divides a job's counts by these rates. A file of it is JSON; a rate
// depends on the size of what is worked on, so each is a curve. Any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace quench {

// Values at rising sizes; between two of them a straight line in the logarithms, beyond the ends the end's value.
struct RateCurve {
  std::vector<std::pair<double, double>> points;  // size, value; both above 0
  bool empty() const { return points.empty(); }
  double at(double size) const;  // needs a point
  bool operator==(const RateCurve&) const = default;
};

// One step of decoding takes weights × (base + row × sequences) + overhead of the sampler; by the model's hidden size.
struct DecodeRate {
  std::uint32_t bits = 0;  // of the packed weights; 16: not packed
  RateCurve base_s, row_s;  // seconds for a weight
  bool operator==(const DecodeRate&) const = default;
};

// What depends on the arithmetic of products (JobSpec's "arithmetic"). Of one rank; by columns, but `forward_flops`: by the
// hidden size.
struct ArithmeticRates {
  RateCurve forward_flops;
  RateCurve hessian_flops;  // of products, summing apart
  RateCurve hessian_sums;   // int64 sums that take a leaf, a second
  RateCurve solve_flops;
  std::vector<DecodeRate> decode;
  bool operator==(const ArithmeticRates&) const = default;
};

struct MachineProfile {
  std::string host, cpu, date, build, backend;
  // In words where the figures come from; what is not measured says so.
  std::string origin;
  bool is_measured = true;
  std::uint32_t ranks = 1;    // of one host, all at work while it was measured
  std::uint32_t threads = 1;  // of each

  // Of one rank.
  ArithmeticRates fp32;
  std::optional<ArithmeticRates> bf16;  // nothing where the backend has none, and in profiles from before there were any
  RateCurve factor_flops;               // by columns
  double round_weights_per_s = 0;  // rounding to nearest and packing
  double read_bytes_per_s = 0;     // of a model directory's files that the page cache holds
  double make_bytes_per_s = 0;     // of synthetic weights
  double layout_bytes_per_s = 0;   // of weights put into the layout of products
  double scratch_bytes_per_s = 0;  // hidden states written with their digest
  std::optional<double> programs_per_s;  // of one rank's sandboxes, all ranks at work

  // Of the gang, inside a host and between hosts; nothing where it is not known, as for one rank alone.
  std::optional<double> message_s;         // of one exchange of a few bytes
  std::optional<double> link_bytes_per_s;  // through one rank's link in one direction
  std::optional<double> between_hosts_message_s, between_hosts_bytes_per_s;

  // Of the coordinator.
  std::optional<double> start_s;            // of a gang, until it computes
  std::optional<double> store_bytes_per_s;  // chunks hashed and stored
  std::optional<double> commit_s;           // of one commit, synced

  std::optional<double> watts;         // of one host at work
  std::string watts_note;              // why there is none, or where it comes from
  std::optional<double> memory_bytes;  // that a rank has

  bool operator==(const MachineProfile&) const = default;
};

std::string profile_to_json(const MachineProfile& profile);
// Throws Error(bad_input) naming `origin`, the key, what was found and what was expected.
MachineProfile parse_profile(std::string_view json, const std::string& origin);
MachineProfile read_profile(const std::filesystem::path& file);

// The machines known by published figures alone: "a100-80gb", "h100-sxm", "h200-sxm". Throws Error(bad_input).
MachineProfile published_profile(std::string_view name);
std::vector<std::string> published_profile_names();

}  // namespace quench
