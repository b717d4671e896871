#include "coordinator/repository/publication.h"

#include <cstdlib>
#include <vector>

#include "coordinator/trust/envelope.h"
#include "schemas/error.h"

namespace quench::coordinator {

Digest add_published(Commit& commit, const std::string& name, const Manifest& manifest, const Bytes& bytes, std::uint64_t now_ms) {
  const Digest digest = sha256(bytes);
  std::vector<Digest> chunks;
  for (const ChunkRef& chunk : chunks_of(manifest)) chunks.push_back(chunk.digest);
  commit.put_object(digest, bytes, chunks);
  commit.set_ref(name, digest, now_ms);
  const char* file = std::getenv("QUENCH_SIGNING_KEY");
  if (file == nullptr || *file == '\0') return digest;
  const SigningKey key = in_context("QUENCH_SIGNING_KEY", [&] { return SigningKey::read(file); });
  commit.put_result(signature_key(digest, key.public_key().id()),
                    as_bytes(sign_payload(statement_about(name, digest, manifest), key)));
  return digest;
}

}  // namespace quench::coordinator
