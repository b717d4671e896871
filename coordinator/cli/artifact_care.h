// The part of `quench artifacts` that keeps a store: verify, gc, policy, trust, repair, backup.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "coordinator/repository/care.h"
#include "coordinator/repository/collection.h"

namespace quench::coordinator {

// Adds its commands to `app` and, once that has parsed, runs the one that was given.
class CareCommands {
 public:
  explicit CareCommands(CLI::App& app);
  // The exit code. Throws Error.
  int run(ArtifactStore& store, std::uint64_t now_ms, std::string& out);

 private:
  std::string change_policy(ArtifactStore& store) const;
  std::string change_trust(ArtifactStore& store, std::uint64_t now_ms) const;
  std::string attach_signature(ArtifactStore& store) const;

  VerifyChoice verify_choice_;
  CollectionChoice collection_;
  std::string grace_, abandon_, quota_, signatures_, name_, key_, from_, to_, ref_, envelope_, model_, pattern_;
  std::vector<std::string> retain_, organisation_quotas_;
  bool json_ = false, linked_ = false;
  CLI::App *verify_, *gc_, *policy_, *trust_, *trust_add_, *trust_rm_, *trust_ls_, *repair_, *backup_, *rederivation_,
      *statement_, *attach_;
};

// "90", "90s", "15m", "12h", "7d" in milliseconds; "10G" and the like in bytes (1e9). Throw Error(bad_input) naming `option`.
std::uint64_t parse_duration_ms(const std::string& option, const std::string& text);
std::uint64_t parse_bytes(const std::string& option, const std::string& text);

}  // namespace quench::coordinator
