#include "coordinator/http/remote_store.h"

#include <nlohmann/json.hpp>
#include <thread>

#include "coordinator/cli/remote.h"
#include "coordinator/http/exchange.h"
#include "coordinator/trust/base64.h"
#include "schemas/codec.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

using nlohmann::json;

// Whether the answer is that of a service without these routes, or of no service at all.
bool knows_nothing_of_stores(const HttpAnswer& answer) {
  if (answer.status != 404 && answer.status != 405) return false;
  const json problem = json::parse(answer.body, nullptr, false);
  if (!problem.is_object() || !problem.contains("message") || !problem["message"].is_string()) return true;
  return problem["message"].get_ref<const std::string&>().starts_with(kNothingHere);
}

HttpAnswer asked(const ServiceAddress& service, const Patience& patience, const std::string& method, const std::string& target,
                 const std::string& body, const std::string& content_type) {
  std::chrono::milliseconds pause = patience.first_pause;
  for (int attempt = 1;; ++attempt, pause *= 2) {
    try {
      HttpAnswer answer = http_request(service, method, target, body, patience.stall, content_type);
      if (knows_nothing_of_stores(answer))
        throw Error(ErrorCode::bad_input, service.to_string() + " knows no " + target.substr(0, target.find('/', 4)) +
                                              ": it is no quench service, or an older one; artifacts move to and from a service of "
                                              "this build, or as an OCI layout (`quench artifacts export --format oci`)");
      if (answer.status != 503 || attempt == patience.tries) return answer;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::unreachable || attempt == patience.tries) throw;
    }
    std::this_thread::sleep_for(pause);
  }
}

std::string ask(const ServiceAddress& service, const Patience& patience, const std::string& method, const std::string& target,
                const std::string& body = {}, const std::string& content_type = "application/json") {
  return good_body(asked(service, patience, method, target, body, content_type));
}

// Whatever the other end sends is checked before it is used.
template <typename Read>
auto read_answer(const ServiceAddress& service, const std::string& text, const Read& read) {
  try {
    return read(json::parse(text));
  } catch (const json::exception& error) {
    throw Error(ErrorCode::corrupt, service.to_string() + " answered something else than was asked: " + error.what());
  }
}

Digest digest_in(const json& value) {
  try {
    return Digest::from_hex(value.get<std::string>());
  } catch (const Error&) {
    throw Error(ErrorCode::corrupt, "the service sent no digest where one belongs");
  }
}

Bytes bytes_in(const json& value) {
  const std::string bytes = from_base64(value.get<std::string>());
  return {bytes.begin(), bytes.end()};
}

}  // namespace

std::pair<Digest, std::string> RemoteSource::resolve(const std::string& ref) {
  const std::string answer = ask(service_, patience_, "GET", "/v1/store/refs/" + escape_segment(ref));
  return read_answer(service_, answer, [](const json& value) {
    return std::pair(digest_in(value.at("digest")), value.at("name").get<std::string>());
  });
}

const RemoteSource::Described* RemoteSource::described(const Digest& digest) {
  const auto known = described_.find(digest);
  if (known != described_.end()) return known->second ? &*known->second : nullptr;
  std::optional<Described>& found = described_[digest];
  const HttpAnswer answer = asked(service_, patience_, "GET", "/v1/store/objects/" + digest.hex(), {}, "application/json");
  if (answer.status == 404) return nullptr;
  const std::string body = good_body(answer);
  found = read_answer(service_, body, [&](const json& value) {
    Described one;
    one.object.digest = digest;
    one.object.bytes = bytes_in(value.at("bytes"));
    if (sha256(one.object.bytes) != digest)
      throw Error(ErrorCode::corrupt, service_.to_string() + " sent an object that has not the digest " + digest.hex());
    // The list is the manifest's: a shorter one would leave an artifact without some of its weights.
    for (const ChunkRef& chunk : chunks_of(decode_manifest(one.object.bytes))) one.object.chunks.push_back(chunk.digest);
    std::vector<Digest> told;
    for (const json& chunk : value.at("chunks")) told.push_back(digest_in(chunk));
    if (told != one.object.chunks)
      throw Error(ErrorCode::corrupt, service_.to_string() + " sent another list of chunks than that of the manifest " + digest.hex());
    if (value.contains("collected_unix_ms")) one.object.collected_ms = value.at("collected_unix_ms").get<std::uint64_t>();
    one.names = value.at("names").get<std::vector<std::string>>();
    for (const json& record : value.at("records")) one.records.emplace_back(record.at("key").get<std::string>(), bytes_in(record.at("bytes")));
    return one;
  });
  return &*found;
}

std::optional<StoredObject> RemoteSource::object(const Digest& digest) {
  const Described* found = described(digest);
  return found == nullptr ? std::nullopt : std::optional(found->object);
}

Bytes RemoteSource::chunk(const Digest& digest) {
  const std::string body = ask(service_, patience_, "GET", "/v1/store/chunks/" + digest.hex());
  if (sha256(body) != digest) throw Error(ErrorCode::corrupt, service_.to_string() + " sent a chunk that has not the digest " + digest.hex());
  return {body.begin(), body.end()};
}

std::vector<std::string> RemoteSource::names(const Digest& digest) {
  const Described* found = described(digest);
  return found == nullptr ? std::vector<std::string>() : found->names;
}

std::vector<std::pair<std::string, Bytes>> RemoteSource::records(const Digest& digest) {
  const Described* found = described(digest);
  return found == nullptr ? std::vector<std::pair<std::string, Bytes>>() : found->records;
}

std::vector<Digest> RemoteSink::missing_chunks(std::span<const Digest> digests) {
  json asked_for = json::array();
  for (const Digest& digest : digests) asked_for.push_back(digest.hex());
  const std::string answer = ask(service_, patience_, "POST", "/v1/store/claims", json{{"digests", asked_for}}.dump());
  return read_answer(service_, answer, [](const json& value) {
    std::vector<Digest> missing;
    for (const json& one : value.at("missing")) missing.push_back(digest_in(one));
    return missing;
  });
}

void RemoteSink::put_chunk(const Digest& digest, std::span<const std::uint8_t> bytes) {
  ask(service_, patience_, "PUT", "/v1/store/chunks/" + digest.hex(), std::string(as_text(bytes)), "application/octet-stream");
}

std::optional<Digest> RemoteSink::find_ref(const std::string& name) {
  const HttpAnswer answer = asked(service_, patience_, "GET", "/v1/store/refs/" + escape_segment(name), {}, "application/json");
  if (answer.status == 404) return std::nullopt;
  const std::string body = good_body(answer);
  return read_answer(service_, body, [&](const json& value) {
    return value.at("name").get<std::string>() == name ? std::optional(digest_in(value.at("digest"))) : std::nullopt;
  });
}

void RemoteSink::publish(const Commit& commit) {
  json body = {{"objects", json::array()}, {"records", json::array()}, {"names", json::array()}};
  for (const Commit::Object& object : commit.objects()) body["objects"].push_back({{"bytes", to_base64(as_text(object.bytes))}});
  for (const Commit::Result& record : commit.results()) body["records"].push_back({{"key", record.key}, {"bytes", to_base64(as_text(record.bytes))}});
  for (const Commit::RefChange& name : commit.ref_changes()) body["names"].push_back({{"name", name.name}, {"digest", name.object.hex()}});
  ask(service_, patience_, "POST", "/v1/store/publishes", body.dump());
}

}  // namespace quench::coordinator
