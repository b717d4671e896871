#include "coordinator/trust/envelope.h"

#include <nlohmann/json.hpp>

#include "coordinator/trust/base64.h"
#include "schemas/error.h"

namespace quench::coordinator {

std::string signed_bytes(std::string_view payload_type, std::string_view payload) {
  std::string bytes = "DSSEv1 " + std::to_string(payload_type.size()) + " ";
  bytes += payload_type;
  bytes += ' ';
  bytes += std::to_string(payload.size());
  bytes += ' ';
  bytes += payload;
  return bytes;
}

std::string sign_payload(std::string_view payload, const SigningKey& key) {
  const std::string signature = key.sign(signed_bytes(kStatementType, payload));
  return nlohmann::ordered_json{
      {"payloadType", kStatementType},
      {"payload", to_base64(payload)},
      {"signatures", {{{"keyid", key.public_key().id()}, {"sig", to_base64(signature)}}}}}
      .dump();
}

Envelope parse_envelope(std::string_view json) {
  const auto invalid = [](const char* what) {
    return Error(ErrorCode::corrupt, std::string("a signature is no DSSE envelope: ") + what);
  };
  if (json.size() > kEnvelopeBytesMax) throw invalid("it is too large");
  const nlohmann::json document = nlohmann::json::parse(json, nullptr, false);
  if (!document.is_object()) throw invalid("it is no JSON object");
  const auto text = [&](const nlohmann::json& object, const char* field) {
    if (!object.is_object() || !object.contains(field) || !object[field].is_string()) throw invalid(field);
    return object[field].get<std::string>();
  };
  Envelope envelope;
  envelope.payload_type = text(document, "payloadType");
  envelope.payload = from_base64(text(document, "payload"));
  if (!document.contains("signatures") || !document["signatures"].is_array() || document["signatures"].empty())
    throw invalid("signatures");
  for (const auto& one : document["signatures"])
    envelope.signatures.push_back({one.contains("keyid") ? text(one, "keyid") : "", from_base64(text(one, "sig"))});
  return envelope;
}

}  // namespace quench::coordinator
