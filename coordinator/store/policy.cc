#include "coordinator/store/policy.h"

#include "coordinator/store/keys.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};

std::string_view text_of(const Bytes& bytes) { return as_text(bytes); }

}  // namespace

void put_quota(Commit& commit, std::optional<std::uint64_t> quota_bytes) {
  std::string payload;
  if (quota_bytes) append_u64(payload, *quota_bytes);
  commit.put_setting(kQuotaSetting, as_bytes(payload));
}

void put_organisation_quota(Commit& commit, const std::string& organisation, std::optional<std::uint64_t> quota_bytes) {
  std::string payload;
  if (quota_bytes) append_u64(payload, *quota_bytes);
  commit.put_setting(std::string(kQuotaPrefix) + organisation, as_bytes(payload));
}

void put_demands_signatures(Commit& commit, bool demanded) {
  commit.put_setting(kSignaturesSetting, as_bytes(demanded ? "demanded" : ""));
}

void put_trusted_key(Commit& commit, const std::string& name, const PublicKey& key) {
  commit.put_setting(std::string(kTrustPrefix) + name, as_bytes(key.pem()));
}

void delete_trusted_key(Commit& commit, const std::string& name) {
  commit.put_setting(std::string(kTrustPrefix) + name, {});
}

void put_retention(Commit& commit, const std::vector<RetentionRule>& rules) {
  std::string payload;
  for (const RetentionRule& rule : rules) {
    append_u64(payload, rule.keep.value_or(kNoLimit));
    append_u64(payload, rule.days.value_or(kNoLimit));
    append_u64(payload, rule.pattern.size());
    payload += rule.pattern;
  }
  commit.put_setting(kRetentionSetting, as_bytes(payload));
}

StorePolicy read_policy(const std::function<std::optional<Bytes>(std::string_view)>& get,
                        const std::function<std::vector<std::string>(std::string_view)>& list) {
  StorePolicy policy;
  if (const std::optional<Bytes> quota = get(kQuotaSetting)) {
    std::string_view payload = text_of(*quota);
    policy.quota_bytes = take_u64(payload);
  }
  for (const std::string& key : list(kQuotaPrefix))
    if (const std::optional<Bytes> quota = get(key)) {
      std::string_view payload = text_of(*quota);
      policy.organisation_quotas[key.substr(kQuotaPrefix.size())] = take_u64(payload);
    }
  policy.demands_signatures = get(kSignaturesSetting).has_value();
  for (const std::string& key : list(kTrustPrefix))
    if (const std::optional<Bytes> pem = get(key))
      policy.keys.push_back({key.substr(kTrustPrefix.size()), PublicKey::from_pem(text_of(*pem), "the trusted key " + key)});
  if (const std::optional<Bytes> retention = get(kRetentionSetting)) {
    std::string_view payload = text_of(*retention);
    while (!payload.empty()) {
      RetentionRule rule;
      const std::uint64_t keep = take_u64(payload), days = take_u64(payload), length = take_u64(payload);
      if (keep != kNoLimit) rule.keep = keep;
      if (days != kNoLimit) rule.days = days;
      if (length > payload.size()) throw Error(ErrorCode::corrupt, "the store's retention rules are cut short");
      rule.pattern = payload.substr(0, length);
      payload.remove_prefix(length);
      policy.retention.push_back(std::move(rule));
    }
  }
  return policy;
}

std::string_view organisation_of(std::string_view name) {
  const std::size_t slash = name.find('/');
  return slash == std::string_view::npos ? std::string_view() : name.substr(0, slash);
}

bool fits_pattern(std::string_view name, std::string_view pattern) {
  // Back to the last '*' when what follows it does not fit.
  std::size_t n = 0, p = 0, star = std::string_view::npos, resumed = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resumed = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resumed;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace quench::coordinator
