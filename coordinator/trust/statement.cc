#include "coordinator/trust/statement.h"

#include <nlohmann/json.hpp>

#include "coordinator/trust/envelope.h"
#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

using nlohmann::ordered_json;

constexpr const char* kStatementVersion = "https://in-toto.io/Statement/v1";
constexpr const char* kPredicateType = "urn:quench:artifact:v1";

std::string hex_or_none(const Digest& digest) { return digest.is_none() ? "none" : digest.hex(); }

bool is_about(const std::string& payload, const Digest& digest) {
  const nlohmann::json statement = nlohmann::json::parse(payload, nullptr, false);
  if (!statement.is_object() || statement.value("_type", "") != kStatementVersion || !statement.contains("subject") ||
      !statement["subject"].is_array())
    return false;
  for (const auto& subject : statement["subject"])
    if (subject.is_object() && subject.contains("digest") && subject["digest"].is_object() &&
        subject["digest"].contains("sha256") && subject["digest"]["sha256"] == digest.hex())
      return true;
  return false;
}

Judgement judge_one(const Digest& digest, const std::string& text, std::span<const TrustedKey> keys) {
  try {
    const Envelope envelope = parse_envelope(text);
    Judgement found{Standing::unknown_key, ""};
    for (const Envelope::Signature& signature : envelope.signatures) {
      for (const TrustedKey& trusted : keys) {
        if (!signature.key_id.empty() && signature.key_id != trusted.key.id()) continue;
        const bool good = trusted.key.verifies(signed_bytes(envelope.payload_type, envelope.payload), signature.bytes);
        if (!good && signature.key_id.empty()) continue;  // names nobody: perhaps another key's
        if (!good) return {Standing::bad_signature, "the signature that claims the key " + trusted.name + " is not that key's"};
        if (envelope.payload_type != kStatementType || !is_about(envelope.payload, digest))
          return {Standing::bad_signature, "the key " + trusted.name + " signed a statement about something else"};
        found = {Standing::trusted, trusted.name};
      }
      if (found.standing == Standing::unknown_key) found.reason = "signed by the key " + signature.key_id.substr(0, 12) + ", which this store does not know";
    }
    return found;
  } catch (const std::exception& error) {
    return {Standing::bad_signature, error.what()};
  }
}

}  // namespace

std::string statement_about(const std::string& name, const Digest& digest, const Manifest& manifest) {
  ordered_json predicate{{"source", hex_or_none(manifest.source)}, {"calibration", hex_or_none(manifest.calibration)}};
  if (!manifest.calibration_set.is_none()) predicate["calibrationSet"] = manifest.calibration_set.hex();
  if (manifest.set) {
    predicate["kind"] = "calibration set";
  } else {
    predicate["kind"] = "artifact";
    predicate["recipe"] = ordered_json::parse(manifest_to_json(manifest)).at("recipe");
  }
  predicate["bytes"] = artifact_bytes(manifest);
  return ordered_json{{"_type", kStatementVersion},
                      {"subject", {{{"name", name}, {"digest", {{"sha256", digest.hex()}}}}}},
                      {"predicateType", kPredicateType},
                      {"predicate", predicate}}
      .dump();
}

Judgement judge_signatures(const Digest& digest, std::span<const std::string> envelopes,
                           std::span<const TrustedKey> keys) {
  Judgement best{Standing::not_signed, "it is not signed"};
  for (const std::string& envelope : envelopes) {
    Judgement one = judge_one(digest, envelope, keys);
    if (one.standing == Standing::bad_signature) return one;
    if (best.standing != Standing::trusted) best = std::move(one);
  }
  return best;
}

std::string signature_prefix(const Digest& digest) { return "signature/" + digest.hex() + "/"; }
std::string signature_key(const Digest& digest, const std::string& key_id) { return signature_prefix(digest) + key_id; }

}  // namespace quench::coordinator
