#include "coordinator/cli/artifact_care.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "coordinator/report/words.h"
#include "coordinator/repository/rederivation.h"
#include "coordinator/store/keys.h"
#include "coordinator/trust/envelope.h"
#include "schemas/codec.h"
#include "schemas/error.h"
#include "schemas/small_file.h"

namespace quench::coordinator {
namespace {

using nlohmann::ordered_json;

constexpr std::uint64_t kAbandonMsMin = 2ull * 24 * 3600 * 1000;
constexpr std::size_t kPemBytesMax = 16 << 10;

// A number with a unit of `units` behind it; the empty unit stands for itself.
std::uint64_t parse_with_unit(const std::string& option, const std::string& text, const char* expected,
                              std::initializer_list<std::pair<std::string_view, std::uint64_t>> units) {
  std::uint64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit(rest, static_cast<std::size_t>(text.data() + text.size() - rest));
  for (const auto& [name, factor] : units)
    if (error == std::errc() && unit == name && number <= UINT64_MAX / factor / 2) return number * factor;
  throw Error(ErrorCode::bad_input, option + " " + text + ": expected " + expected);
}

std::string policy_text(const ArtifactStore& store, bool json) {
  const StorePolicy policy = store.policy();
  const std::uint64_t stored = store.stored_bytes();
  if (json) {
    ordered_json rules = ordered_json::array(), keys = ordered_json::array(), organisations = ordered_json::array();
    for (const auto& [organisation, quota] : policy.organisation_quotas)
      organisations.push_back({{"name", organisation}, {"quota_bytes", quota}, {"held_bytes", store.organisation_bytes(organisation)}});
    for (const RetentionRule& rule : policy.retention)
      rules.push_back({{"pattern", rule.pattern},
                       {"keep", rule.keep ? ordered_json(*rule.keep) : ordered_json(nullptr)},
                       {"days", rule.days ? ordered_json(*rule.days) : ordered_json(nullptr)}});
    for (const TrustedKey& key : policy.keys) keys.push_back({{"name", key.name}, {"id", key.key.id()}});
    return ordered_json{{"quota_bytes", policy.quota_bytes ? ordered_json(*policy.quota_bytes) : ordered_json(nullptr)},
                        {"stored_bytes", stored},
                        {"organisations", organisations},
                        {"demands_signatures", policy.demands_signatures},
                        {"retention", rules},
                        {"keys", keys}}
               .dump(2) +
           "\n";
  }
  std::string text = fmt::format("quota        {}, {} MB taken\nsignatures   {}\n",
                                 policy.quota_bytes ? megabytes(*policy.quota_bytes) + " MB" : "none", megabytes(stored),
                                 policy.demands_signatures ? "demanded of everything that has a name" : "not demanded");
  for (const auto& [organisation, quota] : policy.organisation_quotas)
    text += fmt::format("quota        {}: {} MB, {} MB held by its names\n", organisation, megabytes(quota),
                        megabytes(store.organisation_bytes(organisation)));
  for (const TrustedKey& key : policy.keys) text += fmt::format("key          {}  {}\n", key.key.id(), key.name);
  for (const RetentionRule& rule : policy.retention)
    text += fmt::format("retention    {}{}{}\n", rule.pattern, rule.keep ? fmt::format(", the newest {}", *rule.keep) : "",
                        rule.days ? fmt::format(", {} days", *rule.days) : "");
  return text;
}

// "PATTERN=keep:5,days:30"
RetentionRule parse_rule(const std::string& text) {
  const auto invalid = [&] {
    return Error(ErrorCode::bad_input, "--retain " + text + ": expected PATTERN=keep:N, PATTERN=days:N or PATTERN=keep:N,days:M");
  };
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) throw invalid();
  RetentionRule rule;
  rule.pattern = text.substr(0, equals);
  std::string_view rest = std::string_view(text).substr(equals + 1);
  while (!rest.empty()) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view part = rest.substr(0, comma);
    rest.remove_prefix(std::min(rest.size(), comma + 1));
    const std::size_t colon = part.find(':');
    if (colon == std::string_view::npos) throw invalid();
    std::uint64_t number = 0;
    const std::string_view digits = part.substr(colon + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc() || end != digits.data() + digits.size() || number == 0) throw invalid();
    if (part.substr(0, colon) == "keep") {
      rule.keep = number;
    } else if (part.substr(0, colon) == "days") {
      rule.days = number;
    } else {
      throw invalid();
    }
  }
  if (!rule.keep && !rule.days) throw invalid();
  return rule;
}

}  // namespace

std::uint64_t parse_duration_ms(const std::string& option, const std::string& text) {
  return parse_with_unit(option, text, "a time such as 90s, 15m, 12h or 7d",
                         {{"", 1000}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}});
}

std::uint64_t parse_bytes(const std::string& option, const std::string& text) {
  return parse_with_unit(option, text, "a size such as 500M, 200G or 4T",
                         {{"", 1}, {"k", 1000}, {"M", 1'000'000}, {"G", 1'000'000'000}, {"T", 1'000'000'000'000}});
}

CareCommands::CareCommands(CLI::App& app) {
  verify_ = app.add_subcommand("verify", "read everything, check every digest and signature; --rederive REF runs its recipe again");
  verify_->add_option("--shares", verify_choice_.shares, "read the chunks in so many turns: a day's share of them")->check(CLI::Range(1, 10'000));
  verify_->add_option("--share", verify_choice_.share, "which turn; default: the day's");
  gc_ = app.add_subcommand("gc", "end names as the policy says, and take the weights of what has no name");
  gc_->add_flag("--dry-run", collection_.dry_run, "say what would go");
  gc_->add_option("--grace", grace_, "how long what a name meant stays after the name changed, and a cancelled or failed job's blocks; default 7d");
  gc_->add_option("--abandon", abandon_, "give up unfinished jobs of `quench run` that were started longer ago");
  policy_ = app.add_subcommand("policy", "what the store holds itself to");
  policy_->add_option("--quota", quota_, "bytes that chunks may take (200G), or none");
  policy_->add_option("--org-quota", organisation_quotas_, "ORG=200G or ORG=none: bytes that what ORG's names point at may have");
  policy_->add_option("--signatures", signatures_, "demanded or none")->check(CLI::IsMember({"demanded", "none"}));
  policy_->add_option("--retain", retain_, "PATTERN=keep:N,days:M for names; all rules at once, or none");
  trust_ = app.add_subcommand("trust", "keys whose signatures count");
  trust_->require_subcommand(1);
  trust_add_ = trust_->add_subcommand("add", "NAME --key FILE.pub");
  trust_add_->add_option("--key", key_, "public Ed25519 key, PEM")->required();
  trust_rm_ = trust_->add_subcommand("rm", "NAME");
  trust_ls_ = trust_->add_subcommand("ls", "the trusted keys");
  for (CLI::App* command : {trust_add_, trust_rm_}) command->add_option("name", name_)->required();
  repair_ = app.add_subcommand("repair", "bring damaged and missing chunks from another store");
  repair_->add_option("--from", from_, "the other store's directory")->required();
  backup_ = app.add_subcommand("backup", "a copy of the store as of now, while it goes on");
  backup_->add_option("--to", to_, "directory to make")->required();
  backup_->add_flag("--link", linked_, "share the data files, on the same disk");
  // What other commands of this program ask the store's owner for.
  rederivation_ = app.add_subcommand("rederivation", "")->group("");
  rederivation_->add_option("--model", model_);
  statement_ = app.add_subcommand("statement", "")->group("");
  attach_ = app.add_subcommand("attach-signature", "")->group("");
  attach_->add_option("envelope", envelope_)->required();
  for (CLI::App* command : {rederivation_, statement_, attach_}) command->add_option("--ref", ref_)->required();
  for (CLI::App* command : {verify_, gc_, policy_, trust_ls_, repair_, backup_}) command->add_flag("--json", json_);
}

int CareCommands::run(ArtifactStore& store, std::uint64_t now_ms, std::string& out) {
  if (verify_->parsed()) return verify_store(store, verify_choice_, now_ms, json_, out);
  if (repair_->parsed()) return repair_store(store, ArtifactStore::open(from_, OpenMode::read_only), json_, out);
  if (gc_->parsed()) {
    if (!grace_.empty()) collection_.grace_ms = parse_duration_ms("--grace", grace_);
    if (!abandon_.empty()) collection_.abandon_ms = parse_duration_ms("--abandon", abandon_);
    // A running job's current block may take a day.
    if (collection_.abandon_ms && *collection_.abandon_ms < kAbandonMsMin)
      throw Error(ErrorCode::bad_input, "--abandon " + abandon_ + ": expected 2d or more, so that no job at work is taken for one given up");
    out = collect_store(store, collection_, now_ms, json_);
  }
  if (policy_->parsed()) out = change_policy(store);
  if (trust_->parsed()) out = change_trust(store, now_ms);
  if (backup_->parsed()) out = back_up_store(store, to_, linked_ ? BackupKind::linked : BackupKind::copied, json_);
  if (rederivation_->parsed()) out = to_json(rederivation_of(store, ref_, model_));
  if (statement_->parsed()) {
    const Digest digest = store.resolve(ref_);
    const StoredObject object = store.get_object(digest);
    require_weights(object, ref_);
    std::string name = ref_;
    for (const Ref& ref : store.list_refs())
      if (ref.object == digest && name != ref.name && digest.hex().starts_with(name)) name = ref.name;
    out = statement_about(name, digest, decode_manifest(object.bytes));
  }
  if (attach_->parsed()) out = attach_signature(store);
  return 0;
}

std::string CareCommands::change_policy(ArtifactStore& store) const {
  Commit commit;
  if (!quota_.empty())
    put_quota(commit, quota_ == "none" ? std::nullopt : std::optional(parse_bytes("--quota", quota_)));
  for (const std::string& one : organisation_quotas_) {
    const std::size_t equals = one.find('=');
    const std::string organisation = one.substr(0, equals);
    if (equals == std::string::npos || organisation.find_first_of("/:") != std::string::npos)
      throw Error(ErrorCode::bad_input, "--org-quota " + one + ": expected ORG=SIZE or ORG=none, ORG as in ORG/model:tag");
    check_name("organisation", organisation);
    const std::string size = one.substr(equals + 1);
    put_organisation_quota(commit, organisation, size == "none" ? std::nullopt : std::optional(parse_bytes("--org-quota", size)));
  }
  if (!signatures_.empty()) {
    if (signatures_ == "demanded" && store.policy().keys.empty())
      throw Error(ErrorCode::bad_input, "the store trusts no key, so nothing could be published: `quench artifacts trust add NAME --key FILE.pub` first");
    put_demands_signatures(commit, signatures_ == "demanded");
  }
  if (!retain_.empty()) {
    std::vector<RetentionRule> rules;
    for (const std::string& rule : retain_)
      if (rule != "none") rules.push_back(parse_rule(rule));
    put_retention(commit, rules);
  }
  store.commit(commit);
  return policy_text(store, json_);
}

std::string CareCommands::change_trust(ArtifactStore& store, std::uint64_t) const {
  Commit commit;
  if (trust_add_->parsed())
    put_trusted_key(commit, name_, PublicKey::from_pem(read_small_file(key_, kPemBytesMax), key_));
  if (trust_rm_->parsed()) {
    bool known = false;
    for (const TrustedKey& key : store.policy().keys) known |= key.name == name_;
    if (!known) throw Error(ErrorCode::bad_input, "there is no trusted key " + name_ + ": `quench artifacts trust ls` lists them");
    delete_trusted_key(commit, name_);
  }
  store.commit(commit);
  ordered_json all = ordered_json::array();
  std::string text;
  for (const TrustedKey& key : store.policy().keys) {
    all.push_back({{"name", key.name}, {"id", key.key.id()}});
    text += fmt::format("{}  {}\n", key.key.id(), key.name);
  }
  return json_ ? all.dump(2) + "\n" : text;
}

std::string CareCommands::attach_signature(ArtifactStore& store) const {
  const Digest digest = store.resolve(ref_);
  const Envelope envelope = parse_envelope(envelope_);
  const std::string key_id = envelope.signatures.front().key_id;
  // The id becomes part of a key of the store.
  Digest::from_hex(key_id);
  store.commit(Commit().put_result(signature_key(digest, key_id), as_bytes(envelope_)));
  const Judgement judgement = store.judge(digest);
  return fmt::format("{}  signed by {}{}\n", digest.short_hex(), key_id,
                     judgement.standing == Standing::trusted ? " (" + judgement.reason + ", trusted here)" : "");
}

}  // namespace quench::coordinator
