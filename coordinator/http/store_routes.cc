// The routes that artifacts move over: what a TransferSource and a TransferSink (transfer.h) ask of a store, for one that is
// far away (remote_store.h is the other end). All of it runs aside.
#include <nlohmann/json.hpp>

#include "coordinator/clock.h"
#include "coordinator/http/api.h"
#include "coordinator/store/keys.h"
#include "coordinator/transfer.h"
#include "coordinator/trust/base64.h"
#include "coordinator/trust/statement.h"
#include "schemas/codec.h"

namespace quench::coordinator {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr std::size_t kClaimsMax = 10'000;
constexpr std::size_t kPublishBytesMax = 64u << 20;
constexpr std::size_t kNamesMax = 1000;

HttpReply json_reply(const ordered_json& body) {
  HttpReply reply;
  reply.body = body.dump() + "\n";
  return reply;
}

Digest digest_of(const std::string& text, const std::string& what) {
  try {
    return Digest::from_hex(text);
  } catch (const Error&) {
    throw HttpProblem(400, "bad_input", what + " \"" + text.substr(0, 80) + "\": expected 64 hexadecimal characters");
  }
}

json parsed(const std::string& body) {
  json value = json::parse(body, nullptr, false);
  if (!value.is_object()) throw HttpProblem(400, "bad_input", "the request's body: expected a JSON object");
  return value;
}

// The member of that kind, or an error that names it.
const json& member(const json& object, const char* key, json::value_t kind) {
  const auto found = object.find(key);
  if (found == object.end() || found->type() != kind)
    throw HttpProblem(400, "bad_input", std::string("\"") + key + "\" is missing or of another kind; expected " + json(kind).type_name());
  return *found;
}

std::string text_in(const json& object, const char* key) { return member(object, key, json::value_t::string).get<std::string>(); }

std::vector<Digest> digests_in(const json& object, const char* key, std::size_t most) {
  const json& list = member(object, key, json::value_t::array);
  if (list.size() > most) throw HttpProblem(400, "bad_input", std::string("\"") + key + "\" has more than " + std::to_string(most) + " digests");
  std::vector<Digest> digests;
  for (const json& one : list) digests.push_back(digest_of(one.is_string() ? one.get<std::string>() : "", key));
  return digests;
}

Bytes bytes_in(const json& object, const char* key) {
  try {
    const std::string bytes = from_base64(text_in(object, key));
    return {bytes.begin(), bytes.end()};
  } catch (const HttpProblem&) {
    throw;
  } catch (const Error& error) {
    throw HttpProblem(400, "bad_input", std::string("\"") + key + "\": " + error.what());
  }
}

HttpReply object_reply(const ArtifactStore& store, const Digest& digest) {
  StoreSource source(store);
  const std::optional<StoredObject> object = source.object(digest);
  if (!object) throw HttpProblem(404, "not_found", "there is no object " + digest.hex());
  ordered_json body = {{"digest", digest.hex()}, {"bytes", to_base64(as_text(object->bytes))}, {"chunks", json::array()}};
  for (const Digest& chunk : object->chunks) body["chunks"].push_back(chunk.hex());
  if (object->collected_ms) body["collected_unix_ms"] = *object->collected_ms;
  body["names"] = source.names(digest);
  body["records"] = json::array();
  for (const auto& [key, bytes] : source.records(digest)) body["records"].push_back({{"key", key}, {"bytes", to_base64(as_text(bytes))}});
  return json_reply(body);
}

// What another store's transfer wants to publish here: manifests that decode and say the same chunks, records of those and of
// nothing else, names.
struct Publish {
  std::uint64_t bytes = 0;  // of its objects
  Commit commit;
  std::vector<std::pair<std::string, Digest>> names;
};

Publish publish_of(const ArtifactStore& store, const json& body, std::uint64_t now_ms) {
  Publish publish;
  std::vector<Digest> objects;
  for (const json& one : member(body, "objects", json::value_t::array)) {
    const Bytes bytes = bytes_in(one, "bytes");
    const Digest digest = sha256(bytes);
    const Manifest manifest = decode_manifest(bytes);
    publish.bytes += bytes_of(manifest);
    std::vector<Digest> chunks;
    require_chunks(store, digest, manifest);
    for (const ChunkRef& chunk : chunks_of(manifest)) chunks.push_back(chunk.digest);
    publish.commit.put_object(digest, bytes, chunks);
    objects.push_back(digest);
  }
  for (const json& one : member(body, "records", json::value_t::array)) {
    const std::string key = text_in(one, "key");
    bool belongs = false;
    for (const Digest& object : objects)
      belongs = belongs || key.starts_with("run/" + object.hex() + "/") || key.starts_with(signature_prefix(object));
    if (!belongs) throw HttpProblem(400, "bad_input", "the record " + key.substr(0, 200) + " belongs to none of the objects");
    if (!store.get_result(key)) publish.commit.put_result(key, bytes_in(one, "bytes"));
  }
  const json& names = member(body, "names", json::value_t::array);
  if (names.size() > kNamesMax) throw HttpProblem(400, "bad_input", "more than " + std::to_string(kNamesMax) + " names");
  for (const json& one : names) {
    const std::string name = text_in(one, "name");
    check_name("name", name);
    const Digest digest = digest_of(text_in(one, "digest"), "digest");
    // A transfer takes nobody's name away.
    publish.commit.expect_ref(name, Digest{}).set_ref(name, digest, now_ms);
    publish.names.emplace_back(name, digest);
  }
  return publish;
}

}  // namespace

std::size_t Api::body_bytes_max(const HttpRequest& head) const {
  const Route& route = *match_route(head).route;
  const std::string_view name = route.name;
  const std::size_t most = name == "put_chunk" ? kChunkBytesMax : name == "publish" ? kPublishBytesMax : name == "claim_chunks" ? 4u << 20 : 0;
  if (most == 0) return HttpLimits{}.body_bytes_max;
  require_scope(daemon_.access().identify(head.peer, head.authorization, unix_now_ms()), route.scope);
  return most;
}

std::map<std::string, Api::Handler> Api::transfer_handlers() {
  return {
      {"store_ref",
       [this](Call& call) {
         aside(call, [this, ref = call.parameters.at("ref")] {
           try {
             const auto [digest, name] = StoreSource(daemon_.store()).resolve(ref);
             return json_reply({{"digest", digest.hex()}, {"name", name}});
           } catch (const Error& error) {
             if (error.code() != ErrorCode::bad_input) throw;
             throw HttpProblem(404, "not_found", error.what());
           }
         });
       }},
      {"store_object",
       [this](Call& call) {
         aside(call, [this, digest = digest_of(call.parameters.at("digest"), "object")] { return object_reply(daemon_.store(), digest); });
       }},
      {"store_chunk",
       [this](Call& call) {
         aside(call, [this, digest = digest_of(call.parameters.at("digest"), "chunk")] {
           if (!daemon_.store().has_chunk(digest)) throw HttpProblem(404, "not_found", "there is no chunk " + digest.hex());
           const Bytes bytes = daemon_.store().get_chunk(digest);
           HttpReply reply;
           reply.content_type = "application/octet-stream";
           reply.body.assign(bytes.begin(), bytes.end());
           return reply;
         });
       }},
      {"claim_chunks",
       [this](Call& call) {
         aside(call, [this, digests = digests_in(parsed(call.request.body), "digests", kClaimsMax)] {
           ordered_json missing = json::array();
           for (const Digest& digest : StoreSink(daemon_.store()).missing_chunks(digests)) missing.push_back(digest.hex());
           return json_reply({{"missing", missing}});
         });
       }},
      {"put_chunk",
       [this](Call& call) {
         const Digest digest = digest_of(call.parameters.at("digest"), "chunk");
         const std::string& user = call.caller.user;
         aside(call, [this, digest, limit = limit_of(daemon_.queue(), user), work = daemon_.work_of(user),
                      body = std::make_shared<std::string>(std::move(call.request.body))] {
           if (sha256(*body) != digest)
             throw HttpProblem(400, "bad_input", "the body has another digest than " + digest.hex() + ": it was changed on its way, send it again");
           if (limit.bytes_max > 0 && !daemon_.store().has_chunk(digest)) {
             check_bytes(limit, daemon_.stored_bytes(limit.user, work), body->size());
             daemon_.user_bytes().on_upload(limit.user, body->size());
           }
           daemon_.store().put_chunk(digest, as_bytes(*body));
           return json_reply({{"digest", digest.hex()}, {"bytes", body->size()}});
         });
       }},
      {"publish",
       [this](Call& call) {
         const std::string& user = call.caller.user;
         aside(call, [this, by = user, limit = limit_of(daemon_.queue(), user), work = daemon_.work_of(user),
                      body = std::make_shared<std::string>(std::move(call.request.body))] {
           const std::int64_t now = unix_now_ms();
           Publish publish = publish_of(daemon_.store(), parsed(*body), static_cast<std::uint64_t>(now));
           if (limit.bytes_max > 0) check_bytes(limit, daemon_.user_bytes().published(work), publish.bytes);
           daemon_.publish(std::move(publish.commit), publish.names, by, now);
           return json_reply({{"names", publish.names.size()}});
         });
       }},
  };
}

}  // namespace quench::coordinator
