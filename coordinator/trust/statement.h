// What a signature on an artifact states, and what the signatures on one are worth to those who trust some keys.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/trust/keys.h"
#include "schemas/artifact.h"
#include "schemas/digest.h"

namespace quench::coordinator {

// An in-toto statement (v1) about the manifest with `digest`: its subject is `name` with that digest; its predicate repeats
// what the manifest says of source, calibration and recipe, so that people can read it.
std::string statement_about(const std::string& name, const Digest& digest, const Manifest& manifest);

struct TrustedKey {
  std::string name;
  PublicKey key;
};

enum class Standing {
  trusted,       // a trusted key signed a statement about this digest
  not_signed,    // there is no signature
  unknown_key,   // signatures, but by keys that nobody here trusts: they cannot be checked
  bad_signature  // a signature that claims a trusted key and is not its, or is about something else
};
struct Judgement {
  Standing standing = Standing::not_signed;
  std::string reason;  // in words; for `trusted`, whose key
};
// `envelopes`: all that are kept of the artifact. A good one outweighs unknown keys, and a bad one outweighs both: it
// is a sign that somebody tampers.
Judgement judge_signatures(const Digest& digest, std::span<const std::string> envelopes,
                           std::span<const TrustedKey> keys);

// "signature/DIGEST/KEYID": where the store keeps an envelope.
std::string signature_key(const Digest& digest, const std::string& key_id);
std::string signature_prefix(const Digest& digest);

}  // namespace quench::coordinator
