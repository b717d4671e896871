#include "coordinator/repository/signing.h"

#include <cstdlib>

#include "coordinator/trust/envelope.h"
#include "schemas/error.h"

namespace quench::coordinator {

void sign_published(Commit& commit, const std::string& name, const Digest& digest, const Manifest& manifest) {
  const char* file = std::getenv("QUENCH_SIGNING_KEY");
  if (file == nullptr || *file == '\0') return;
  const SigningKey key = in_context("QUENCH_SIGNING_KEY", [&] { return SigningKey::read(file); });
  commit.put_result(signature_key(digest, key.public_key().id()),
                    as_bytes(sign_payload(statement_about(name, digest, manifest), key)));
}

}  // namespace quench::coordinator
