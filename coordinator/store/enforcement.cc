// What a store's policy demands of chunks and commits.
#include <map>
#include <set>

#include "coordinator/store/store_state.h"

namespace quench::coordinator {
namespace {

std::string megabytes(std::uint64_t bytes) {
  const std::string hundredths = std::to_string(100 + bytes / 10'000 % 100);
  return std::to_string(bytes / 1'000'000) + "." + hundredths.substr(1) + " MB";
}

// The bytes of the chunks of everything that an organisation's names point at, each counted once; with `commit`, as they will be
// after it.
std::uint64_t bytes_held(const Databases& open, std::string_view organisation, const Commit* commit) {
  const std::string prefix = std::string(organisation) + "/";
  std::map<std::string, Digest, std::less<>> names;
  for (const Ref& ref : open.catalog().list_refs(prefix)) names[ref.name] = ref.object;
  if (commit != nullptr)
    for (const Commit::RefChange& change : commit->ref_changes())
      if (change.name.starts_with(prefix)) names[change.name] = change.object;
  DigestSet objects, chunks;
  for (const auto& [name, object] : names) {
    if (object.is_none() || !objects.insert(object).second) continue;
    if (const std::optional<StoredObject> stored = open.catalog().get_object(object))
      chunks.insert(stored->chunks.begin(), stored->chunks.end());
  }
  if (commit != nullptr)
    for (const Commit::Object& object : commit->objects())
      if (objects.contains(object.digest)) chunks.insert(object.chunks.begin(), object.chunks.end());
  std::uint64_t bytes = 0;
  for (const Digest& chunk : chunks) bytes += open.chunks().size_bytes(chunk).value_or(0);
  return bytes;
}

}  // namespace

StorePolicy ArtifactStore::State::policy(const Databases& open) const {
  const std::lock_guard guard(policy_mutex);
  if (!policy_read)
    policy_read = read_policy([&](std::string_view key) { return open.catalog().get_setting(key); },
                              [&](std::string_view prefix) { return open.catalog().list_settings(prefix); });
  return *policy_read;
}

void ArtifactStore::State::forget_policy() {
  const std::lock_guard guard(policy_mutex);
  policy_read.reset();
}

void ArtifactStore::State::check_quota(const Databases& open, const Digest& digest, std::size_t bytes) const {
  const std::optional<std::uint64_t> quota = policy(open).quota_bytes;
  if (!quota || open.chunks().size_bytes(digest)) return;
  const std::uint64_t stored = open.chunks().stored_bytes();
  if (stored + bytes <= *quota) return;
  throw Error(ErrorCode::refused, "the quota of the store " + directory.string() + " is full: " + megabytes(stored) + " of " +
                                      megabytes(*quota) + " are taken; remove names with `quench artifacts rm` and run "
                                      "`quench artifacts gc`, or raise it with `quench artifacts policy --quota`");
}

void ArtifactStore::State::check_organisations(const Databases& open, const Commit& commit) const {
  if (commit.ref_changes().empty()) return;
  const StorePolicy limits = policy(open);
  std::set<std::string_view> organisations;
  for (const Commit::RefChange& change : commit.ref_changes())
    if (!change.object.is_none()) organisations.insert(organisation_of(change.name));
  for (const std::string_view organisation : organisations) {
    const auto quota = limits.organisation_quotas.find(organisation);
    if (quota == limits.organisation_quotas.end()) continue;
    const std::uint64_t after = bytes_held(open, organisation, &commit);
    if (after <= quota->second) continue;
    // Where the quota was lowered below what is taken, names may still change to what takes less.
    const std::uint64_t before = bytes_held(open, organisation, nullptr);
    if (after <= before) continue;
    const std::string name(organisation);
    throw Error(ErrorCode::refused, "the quota of " + name + " in the store " + directory.string() + " is full: its names hold " +
                                        megabytes(before) + " and would hold " + megabytes(after) + " of " +
                                        megabytes(quota->second) + "; remove names with `quench artifacts rm " + name +
                                        "/...`, publish under another organisation, or raise it with `quench artifacts policy "
                                        "--org-quota " + name + "=SIZE`");
  }
}

Judgement ArtifactStore::State::judge(const Databases& open, const Digest& object, const Commit* commit) const {
  std::vector<std::string> envelopes;
  const std::string prefix = signature_prefix(object);
  open.catalog().scan_results(prefix, [&](std::string_view, const Bytes& bytes) {
    envelopes.emplace_back(as_text(bytes));
    return true;
  });
  if (commit != nullptr)
    for (const Commit::Result& result : commit->results())
      if (result.key.starts_with(prefix)) envelopes.emplace_back(as_text(result.bytes));
  return judge_signatures(object, envelopes, policy(open).keys);
}

void ArtifactStore::State::check_signatures(const Databases& open, const Commit& commit) const {
  if (commit.ref_changes().empty() || !policy(open).demands_signatures) return;
  for (const Commit::RefChange& change : commit.ref_changes()) {
    if (change.object.is_none()) continue;
    const Judgement judgement = judge(open, change.object, &commit);
    if (judgement.standing != Standing::trusted)
      throw Error(ErrorCode::refused, "the store " + directory.string() + " demands signatures, and what \"" + change.name +
                                          "\" is to point at (" + change.object.short_hex() +
                                          ") has none that it trusts: " + judgement.reason +
                                          "; sign it (`quench artifacts sign`, or QUENCH_SIGNING_KEY for a job) with a "
                                          "key of `quench artifacts trust ls`");
  }
}

StorePolicy ArtifactStore::policy() const {
  return state_->reading([&](Databases& open) { return state_->policy(open); });
}

std::uint64_t ArtifactStore::organisation_bytes(std::string_view organisation) const {
  return state_->reading([&](Databases& open) { return bytes_held(open, organisation, nullptr); });
}

Judgement ArtifactStore::judge(const Digest& object) const {
  return state_->reading([&](Databases& open) { return state_->judge(open, object); });
}

}  // namespace quench::coordinator
