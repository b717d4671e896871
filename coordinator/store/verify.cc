#include "coordinator/store/verify.h"

#include <utility>

#include "coordinator/store/keys.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

class Walk {
 public:
  Walk(const Chunks& chunks, const Catalog& catalog) : chunks_(chunks), catalog_(catalog) {}

  void chunks(const VerifyOptions& options) {
    attempt("the chunk database", [&] {
      chunks_.scan([&](const Digest& digest) {
        std::string_view first = as_text(digest.bytes);
        if (take_u64(first) % options.shares != options.share) return true;
        attempt("chunk " + digest.short_hex(), [&] {
          Suspect suspect(report_.damaged_chunks, digest);
          const Bytes bytes = chunks_.get(digest);
          ++report_.chunks;
          report_.chunk_bytes += bytes.size();
          if (chunks_.size_bytes(digest) != bytes.size())
            throw Error(ErrorCode::corrupt, "its recorded size is not its size");
          suspect.clear();
        });
        return true;
      });
    });
  }

  void objects(const ObjectCheck& check) {
    records(Catalog::objects, [&](std::string_view key, std::string_view value) {
      Suspect suspect(report_.damaged_objects, Digest::from_bytes(as_bytes(key)));
      StoredObject object = Catalog::decode_object(key, value);
      object.collected_ms = catalog_.collected_ms(object.digest);
      suspect.clear();
      ++report_.objects;
      if (!object.collected_ms) require_chunks(object.chunks);
      if (!check) return;
      const ObjectOpinion opinion = check(object);
      const std::string finding = "object " + object.digest.hex() + ": " + opinion.reason;
      if (opinion.kind == ObjectOpinion::Kind::untrusted) note(report_.untrusted, finding);
      if (opinion.kind == ObjectOpinion::Kind::unverifiable) note(report_.unverifiable, finding);
    });
  }

  void refs() {
    records(Catalog::refs, [&](std::string_view key, std::string_view value) {
      const Ref ref = Catalog::decode_ref(key, value);
      ++report_.refs;
      // The collector may take what only an older entry of the history names.
      const std::optional<Ref> newest = catalog_.newest_ref(ref.name);
      const bool current = newest && newest->commit == ref.commit && !ref.object.is_none();
      if (current && !catalog_.has_object(ref.object))
        throw Error(ErrorCode::corrupt,
                    "name " + ref.name + " points at the missing object " + ref.object.hex());
    });
  }

  void journals() {
    attempt("the list of jobs", [&] {
      for (const std::string& job_id : catalog_.list_jobs())
        attempt("job " + job_id, [&] {
          const std::uint64_t released = catalog_.released_events(job_id);
          for (const JournalEvent& event : catalog_.read_journal(job_id)) {
            ++report_.events;
            if (event.sequence >= released) require_chunks(event.chunks);
          }
        });
    });
  }

  void results() {
    records(Catalog::results, [&](std::string_view key, std::string_view value) {
      Catalog::decode_result(key, value);
      ++report_.results;
    });
  }

  void format() {
    attempt("the catalog", [&] {
      catalog_.format();
      catalog_.state();
    });
  }

  VerifyReport take() { return std::move(report_); }

 private:
  template <typename Body>
  void attempt(const std::string& what, Body&& body) {
    try {
      body();
    } catch (const Error& error) {
      note(error.code() == ErrorCode::corrupt ? report_.corrupt : report_.unverifiable,
           what + ": " + error.what());
    }
  }

  template <typename Visit>
  void records(Catalog::Family family, Visit&& visit) {
    const std::string name(Catalog::family_name(family));
    attempt("family " + name, [&] {
      catalog_.database().scan(family, "", [&](std::string_view key, std::string_view value) {
        attempt(name, [&] { visit(key, value); });
        return true;
      });
    });
  }

  // All that are missing are listed; the first is named.
  void require_chunks(std::span<const Digest> digests) {
    std::optional<Digest> missing;
    for (const Digest& digest : digests) {
      if (chunks_.size_bytes(digest)) continue;
      report_.damaged_chunks.push_back(digest);
      if (!missing) missing = digest;
    }
    if (missing) throw Error(ErrorCode::corrupt, "chunk " + missing->hex() + ", which it refers to, is missing");
  }

  // Lists `digest`, unless cleared before the scope is left.
  class Suspect {
   public:
    Suspect(std::vector<Digest>& list, const Digest& digest) : list_(list), digest_(digest) {}
    ~Suspect() {
      if (!cleared_) list_.push_back(digest_);
    }
    Suspect(const Suspect&) = delete;
    Suspect& operator=(const Suspect&) = delete;
    void clear() { cleared_ = true; }

   private:
    std::vector<Digest>& list_;
    Digest digest_;
    bool cleared_ = false;
  };

  void note(std::uint64_t& count, const std::string& finding) {
    ++count;
    if (report_.findings.size() < VerifyReport::kFindingsMax) report_.findings.push_back(finding);
  }

  const Chunks& chunks_;
  const Catalog& catalog_;
  VerifyReport report_;
};

}  // namespace

VerifyReport verify_records(const Chunks& chunks, const Catalog& catalog, const VerifyOptions& options) {
  Walk walk(chunks, catalog);
  walk.format();
  walk.chunks(options);
  walk.objects(options.check);
  walk.refs();
  walk.journals();
  walk.results();
  return walk.take();
}

}  // namespace quench::coordinator
