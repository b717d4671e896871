#include "coordinator/store/catalog.h"

#include <array>
#include <map>
#include <utility>

#include "coordinator/store/keys.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

constexpr std::array<std::string_view, 5> kFamilies = {"meta", "objects", "refs", "journal", "results"};
// Records of `meta`. Journal tails are here, away from the events, so that listing jobs reads no
// journal.
constexpr std::string_view kFormatKey = "format";
constexpr std::string_view kStateKey = "commit";
constexpr std::string_view kTailPrefix = "journal/";
constexpr std::string_view kCollectedPrefix = "collected/";
constexpr std::string_view kReleasedPrefix = "released/";
constexpr std::string_view kSettingPrefix = "setting/";

Bytes to_bytes(std::string_view text) {
  const std::span<const std::uint8_t> bytes = as_bytes(text);
  return {bytes.begin(), bytes.end()};
}

std::string key_under(std::string_view prefix, std::string_view name) {
  return std::string(prefix) + std::string(name);
}
std::string tail_key(std::string_view job_id) { return key_under(kTailPrefix, job_id); }

std::string number_payload(std::uint64_t number) {
  std::string payload;
  append_u64(payload, number);
  return payload;
}

}  // namespace

std::string_view Catalog::family_name(Family family) { return kFamilies.at(family); }

Catalog::Catalog(const std::filesystem::path& path, DatabaseAccess access, LogSink log)
    : database_(path, DatabaseProfile::records, access, {kFamilies.begin(), kFamilies.end()},
                std::move(log)) {
  if (access != DatabaseAccess::create) return;
  upgrade(CommitState{});
}

CommitState Catalog::upgrade(const CommitState& before) {
  return write({{meta, std::string(kFormatKey), seal(kFamilies[meta], kFormatKey, number_payload(kStoreFormat))}},
               before);
}

// --- Reading ----------------------------------------------------------------------------------------

std::uint32_t Catalog::format() const {
  const std::optional<Bytes> value = database_.get(meta, kFormatKey);
  if (!value) throw Error(ErrorCode::corrupt, "the catalog has lost its format version");
  std::string_view payload = unseal(kFamilies[meta], kFormatKey, as_text(*value));
  return static_cast<std::uint32_t>(take_u64(payload));
}

CommitState Catalog::state() const {
  const std::optional<Bytes> value = database_.get(meta, kStateKey);
  if (!value) throw Error(ErrorCode::corrupt, "the catalog has lost its commit number");
  std::string_view payload = unseal(kFamilies[meta], kStateKey, as_text(*value));
  CommitState state;
  state.number = take_u64(payload);
  state.chain = take_digest(payload);
  state.chain_before = take_digest(payload);
  return state;
}

StoredObject Catalog::decode_object(std::string_view key, std::string_view value) {
  StoredObject object;
  object.digest = Digest::from_bytes(as_bytes(key));
  std::string_view payload = unseal(kFamilies[objects], key, value);
  object.chunks = take_digests(payload);
  object.bytes = to_bytes(payload);
  if (sha256(object.bytes) != object.digest)
    throw Error(ErrorCode::corrupt, "object " + object.digest.hex() + " does not have its digest");
  return object;
}

std::optional<StoredObject> Catalog::get_object(const Digest& digest) const {
  const std::string_view key = as_text(digest.bytes);
  const std::optional<Bytes> value = database_.get(objects, key);
  if (!value) return std::nullopt;
  return in_context("object " + digest.hex(), [&] {
    StoredObject object = decode_object(key, as_text(*value));
    object.collected_ms = collected_ms(digest);
    return object;
  });
}

std::optional<std::uint64_t> Catalog::collected_ms(const Digest& digest) const {
  return number_in_meta(key_under(kCollectedPrefix, as_text(digest.bytes)));
}

std::uint64_t Catalog::released_events(std::string_view job_id) const {
  return number_in_meta(key_under(kReleasedPrefix, job_id)).value_or(0);
}

std::optional<std::uint64_t> Catalog::number_in_meta(const std::string& key) const {
  const std::optional<Bytes> value = database_.get(meta, key);
  if (!value) return std::nullopt;
  std::string_view payload = unseal(kFamilies[meta], key, as_text(*value));
  return take_u64(payload);
}

std::vector<Digest> Catalog::list_collected() const {
  std::vector<Digest> digests;
  database_.scan(meta, kCollectedPrefix, [&](std::string_view key, std::string_view) {
    digests.push_back(Digest::from_bytes(as_bytes(key.substr(kCollectedPrefix.size()))));
    return true;
  });
  return digests;
}

std::optional<Bytes> Catalog::get_setting(std::string_view name) const {
  const std::string key = key_under(kSettingPrefix, name);
  const std::optional<Bytes> value = database_.get(meta, key);
  if (!value) return std::nullopt;
  return to_bytes(unseal(kFamilies[meta], key, as_text(*value)));
}

std::vector<std::string> Catalog::list_settings(std::string_view prefix) const {
  std::vector<std::string> names;
  database_.scan(meta, key_under(kSettingPrefix, prefix), [&](std::string_view key, std::string_view) {
    names.emplace_back(key.substr(kSettingPrefix.size()));
    return true;
  });
  return names;
}

bool Catalog::has_object(const Digest& digest) const { return database_.has(objects, as_text(digest.bytes)); }

std::vector<Digest> Catalog::list_objects(std::string_view prefix) const {
  std::vector<Digest> digests;
  database_.scan(objects, prefix, [&](std::string_view key, std::string_view) {
    digests.push_back(Digest::from_bytes(as_bytes(key)));
    return true;
  });
  return digests;
}

Ref Catalog::decode_ref(std::string_view key, std::string_view value) {
  const VersionedKey parsed = parse_versioned_key(key);
  std::string_view payload = unseal(kFamilies[refs], key, value);
  Ref ref{std::string(parsed.name), take_digest(payload), 0, parsed.version};
  ref.time_ms = take_u64(payload);
  return ref;
}

std::optional<Ref> Catalog::newest_ref(std::string_view name) const {
  const auto entry = database_.last(refs, versioned_prefix(name));
  if (!entry) return std::nullopt;
  return in_context("name " + std::string(name), [&] { return decode_ref(entry->first, entry->second); });
}

std::vector<Ref> Catalog::ref_history(std::string_view name) const {
  std::vector<Ref> history;
  database_.scan(refs, versioned_prefix(name), [&](std::string_view key, std::string_view value) {
    history.push_back(decode_ref(key, value));
    return true;
  });
  return history;
}

std::vector<Ref> Catalog::list_refs(std::string_view prefix) const {
  std::vector<Ref> newest;
  database_.scan(refs, prefix, [&](std::string_view key, std::string_view value) {
    Ref ref = decode_ref(key, value);
    if (newest.empty() || newest.back().name != ref.name) {
      newest.push_back(std::move(ref));
    } else {
      newest.back() = std::move(ref);
    }
    return true;
  });
  std::erase_if(newest, [](const Ref& ref) { return ref.object.is_none(); });
  return newest;
}

JournalTail Catalog::journal_tail(std::string_view job_id) const {
  const std::string key = tail_key(job_id);
  const std::optional<Bytes> value = database_.get(meta, key);
  return value ? decode_tail(unseal(kFamilies[meta], key, as_text(*value))) : JournalTail{};
}

std::vector<JournalEvent> Catalog::read_journal(std::string_view job_id) const {
  return in_context("journal of job " + std::string(job_id), [&] {
    // The collector may rewrite a journal between the reading of its tail and that of its events.
    for (JournalTail expected = journal_tail(job_id);;) {
      try {
        return read_events(job_id, expected);
      } catch (const Error&) {
        const JournalTail now = journal_tail(job_id);
        if (now == expected) throw;
        expected = now;
      }
    }
  });
}

std::vector<JournalEvent> Catalog::read_events(std::string_view job_id, const JournalTail& expected) const {
  JournalTail reached;
  std::vector<JournalEvent> events;
  database_.scan(journal, versioned_prefix(job_id), [&](std::string_view key, std::string_view value) {
    // What lies beyond the tail read above was committed since.
    if (reached.events == expected.events) return false;
    if (parse_versioned_key(key).version != reached.events) return false;
    events.push_back(decode_event(job_id, reached, value));
    return true;
  });
  if (reached.events != expected.events)
    throw Error(ErrorCode::corrupt, "event " + std::to_string(reached.events) + " of " +
                                        std::to_string(expected.events) + " is missing");
  if (reached.hash != expected.hash)
    throw Error(ErrorCode::corrupt, "the last event was changed: it does not have the chain's hash");
  return events;
}

std::vector<std::string> Catalog::list_jobs() const {
  std::vector<std::string> jobs;
  database_.scan(meta, kTailPrefix, [&](std::string_view key, std::string_view) {
    jobs.emplace_back(key.substr(kTailPrefix.size()));
    return true;
  });
  return jobs;
}

Bytes Catalog::decode_result(std::string_view key, std::string_view value) {
  return to_bytes(unseal(kFamilies[results], key, value));
}

std::optional<Bytes> Catalog::get_result(std::string_view key) const {
  const std::optional<Bytes> value = database_.get(results, key);
  if (!value) return std::nullopt;
  return decode_result(key, as_text(*value));
}

void Catalog::scan_results(std::string_view prefix,
                           const std::function<bool(std::string_view, Bytes)>& visit) const {
  database_.scan(results, prefix, [&](std::string_view key, std::string_view value) {
    return visit(key, decode_result(key, value));
  });
}

// --- Writing ----------------------------------------------------------------------------------------

// A damaged record counts as none: putting the object again heals it.
std::optional<StoredObject> Catalog::get_intact(const Digest& digest) const {
  try {
    return get_object(digest);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::corrupt) throw;
    return std::nullopt;
  }
}

void Catalog::draft_objects(const Commit& commit, std::vector<OwnedPut>& puts) const {
  for (const Commit::Object& object : commit.objects()) {
    const std::string_view key = as_text(object.digest.bytes);
    if (const std::optional<StoredObject> stored = get_intact(object.digest)) {
      if (stored->chunks != object.chunks)
        throw Error(ErrorCode::bad_input, "object " + object.digest.hex() +
                                              " is in the store already, with another list of chunks");
      // Its chunks are there again: ArtifactStore::commit has looked.
      if (stored->collected_ms) puts.push_back({meta, key_under(kCollectedPrefix, key), std::nullopt});
      continue;
    }
    std::string payload;
    append_digests(payload, object.chunks);
    payload += as_text(object.bytes);
    puts.push_back({objects, std::string(key), seal(kFamilies[objects], key, payload)});
  }
}

void Catalog::draft_refs(const Commit& commit, std::uint64_t number, std::vector<OwnedPut>& puts) const {
  for (const Commit::RefChange& change : commit.ref_changes()) {
    if (change.object.is_none()) {
      const std::optional<Ref> current = newest_ref(change.name);
      if (!current || current->object.is_none())
        throw Error(ErrorCode::bad_input, "there is no name \"" + change.name + "\" to delete");
    } else {
      bool put_now = false;
      for (const Commit::Object& object : commit.objects()) put_now |= object.digest == change.object;
      const bool known = put_now || has_object(change.object);
      if (known && !put_now && collected_ms(change.object))
        throw Error(ErrorCode::bad_input, "name \"" + change.name + "\" cannot point at " + change.object.hex() +
                                              ": the collector took its chunks; pull, import or quantize it again");
      if (!known)
        throw Error(ErrorCode::bad_input, "name \"" + change.name + "\" cannot point at " +
                                              change.object.hex() + ": the store has no such object");
    }
    std::string payload;
    append_digest(payload, change.object);
    append_u64(payload, change.time_ms);
    const std::string key = versioned_key(change.name, number);
    puts.push_back({refs, key, seal(kFamilies[refs], key, payload)});
  }
}

void Catalog::draft_events(const Commit& commit, std::vector<OwnedPut>& puts) const {
  std::map<std::string, JournalTail> tails;
  for (const Commit::Event& event : commit.events()) {
    auto tail = tails.find(event.job_id);
    if (tail == tails.end()) tail = tails.emplace(event.job_id, journal_tail(event.job_id)).first;
    const std::string key = versioned_key(event.job_id, tail->second.events);
    puts.push_back({journal, key, encode_event(event.job_id, tail->second, event)});
  }
  for (const auto& [job_id, tail] : tails) {
    const std::string key = tail_key(job_id);
    puts.push_back({meta, key, seal(kFamilies[meta], key, encode_tail(tail))});
  }
}

void Catalog::check_expectations(const Commit& commit) const {
  for (const Commit::Expectation& expected : commit.expectations()) {
    const std::optional<Ref> current = newest_ref(expected.name);
    const Digest object = current ? current->object : Digest{};
    if (object == expected.object) continue;
    throw Error(ErrorCode::bad_input,
                "the name \"" + expected.name + "\" " +
                    (object.is_none() ? "is not set any more" : "points at " + object.hex()) +
                    ": somebody else changed it meanwhile, and nothing was written; look at `quench artifacts log " +
                    expected.name + "` and try again, or take another name");
  }
}

void Catalog::draft_collection(const Commit& commit, std::vector<OwnedPut>& puts) const {
  for (const Commit::Collected& one : commit.collected()) {
    const std::string key = key_under(kCollectedPrefix, as_text(one.object.bytes));
    puts.push_back({meta, key, seal(kFamilies[meta], key, number_payload(one.time_ms))});
  }
  for (const std::string& job_id : commit.released()) {
    const std::string key = key_under(kReleasedPrefix, job_id);
    puts.push_back({meta, key, seal(kFamilies[meta], key, number_payload(journal_tail(job_id).events))});
  }
  for (const Commit::Forgotten& one : commit.forgotten()) {
    JournalTail tail;
    for (const Commit::Event& event : one.left) {
      const std::string key = versioned_key(one.job_id, tail.events);
      puts.push_back({journal, key, encode_event(one.job_id, tail, event)});
    }
    database_.scan(journal, versioned_prefix(one.job_id), [&](std::string_view key, std::string_view) {
      if (parse_versioned_key(key).version >= tail.events) puts.push_back({journal, std::string(key), std::nullopt});
      return true;
    });
    const std::string tail_at = tail_key(one.job_id), released_at = key_under(kReleasedPrefix, one.job_id);
    const auto end = [&](const std::string& key, const std::string& payload) {
      puts.push_back({meta, key, tail.events > 0 ? std::optional(seal(kFamilies[meta], key, payload)) : std::nullopt});
    };
    end(tail_at, encode_tail(tail));
    end(released_at, number_payload(tail.events));
  }
}

void Catalog::draft_settings(const Commit& commit, std::vector<OwnedPut>& puts) const {
  for (const Commit::Result& setting : commit.settings()) {
    const std::string key = key_under(kSettingPrefix, setting.key);
    if (setting.bytes.empty()) {
      puts.push_back({meta, key, std::nullopt});
    } else {
      puts.push_back({meta, key, seal(kFamilies[meta], key, as_text(setting.bytes))});
    }
  }
}

CommitState Catalog::apply(const Commit& commit, const CommitState& before) {
  check_expectations(commit);
  std::vector<OwnedPut> puts;
  draft_objects(commit, puts);
  draft_refs(commit, before.number + 1, puts);
  draft_events(commit, puts);
  for (const Commit::Result& result : commit.results())
    puts.push_back({results, result.key, seal(kFamilies[results], result.key, as_text(result.bytes))});
  for (const std::string& key : commit.deleted_results()) puts.push_back({results, key, std::nullopt});
  draft_collection(commit, puts);
  draft_settings(commit, puts);
  return write(std::move(puts), before);
}

CommitState Catalog::write(std::vector<OwnedPut> puts, const CommitState& before) {
  CommitState after{before.number + 1, Digest{}, before.chain};
  Hasher chain;
  chain.update(before.chain.bytes).update_u64(after.number);
  constexpr std::uint64_t kErased = ~std::uint64_t{0};  // no value is so long
  for (const OwnedPut& put : puts) {
    chain.update_u64(put.family).update_u64(put.key.size()).update(put.key);
    chain.update_u64(put.value ? put.value->size() : kErased);
    if (put.value) chain.update(*put.value);
  }
  after.chain = chain.finish();

  std::string payload;
  append_u64(payload, after.number);
  append_digest(payload, after.chain);
  append_digest(payload, after.chain_before);
  puts.push_back({meta, std::string(kStateKey), seal(kFamilies[meta], kStateKey, payload)});

  std::vector<Database::Put> views;
  std::vector<Database::Erase> erasures;
  for (const OwnedPut& put : puts) {
    if (put.value) {
      views.push_back({put.family, put.key, *put.value});
    } else {
      erasures.push_back({put.family, put.key});
    }
  }
  database_.write(views, erasures);
  return after;
}

}  // namespace quench::coordinator
