// What a store is told to hold itself to: kept as settings in its catalog, so that it travels with the store and its
// backups. ArtifactStore enforces all of it but retention, which is applied by the collector's caller.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/store/commit.h"
#include "coordinator/trust/statement.h"

namespace quench::coordinator {

// Names that fit `pattern` ('*': any characters) are ended when they are more than the newest `keep` of
// them, or last changed longer than `days` ago. At least one of the two is given.
struct RetentionRule {
  std::string pattern;
  std::optional<std::uint64_t> keep;
  std::optional<std::uint64_t> days;
  bool operator==(const RetentionRule&) const = default;
};

struct StorePolicy {
  std::optional<std::uint64_t> quota_bytes;  // of chunks, as they are counted once each
  // By organisation, the `org` of `org/model:tag`: the bytes of the chunks of everything that its names point at, as they are
  // counted once each for it. What two organisations share counts for both.
  std::map<std::string, std::uint64_t, std::less<>> organisation_quotas;
  bool demands_signatures = false;           // a name may only point at what a trusted key has signed
  std::vector<TrustedKey> keys;
  std::vector<RetentionRule> retention;
};

// The settings' keys; each value's form is decode's and encode's business. A trusted key is "trust/NAME".
inline constexpr std::string_view kQuotaSetting = "quota";
inline constexpr std::string_view kQuotaPrefix = "quota/";  // an organisation's
inline constexpr std::string_view kSignaturesSetting = "signatures";
inline constexpr std::string_view kRetentionSetting = "retention";
inline constexpr std::string_view kTrustPrefix = "trust/";

void put_quota(Commit& commit, std::optional<std::uint64_t> quota_bytes);
void put_organisation_quota(Commit& commit, const std::string& organisation, std::optional<std::uint64_t> quota_bytes);
void put_demands_signatures(Commit& commit, bool demanded);
void put_trusted_key(Commit& commit, const std::string& name, const PublicKey& key);
void delete_trusted_key(Commit& commit, const std::string& name);
void put_retention(Commit& commit, const std::vector<RetentionRule>& rules);

// `get` returns a setting's bytes, `list` the keys that start with a prefix. Throws Error(corrupt).
StorePolicy read_policy(const std::function<std::optional<Bytes>(std::string_view)>& get,
                        const std::function<std::vector<std::string>(std::string_view)>& list);

// The part of a name before its first '/'; empty for a name without one.
std::string_view organisation_of(std::string_view name);

// '*' stands for any characters, '/' and ':' too.
bool fits_pattern(std::string_view name, std::string_view pattern);

}  // namespace quench::coordinator
