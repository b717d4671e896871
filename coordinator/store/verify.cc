#include "coordinator/store/verify.h"

#include <utility>

#include "coordinator/store/keys.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

class Walk {
 public:
  Walk(const Chunks& chunks, const Catalog& catalog) : chunks_(chunks), catalog_(catalog) {}

  void chunks() {
    attempt("the chunk database", [&] {
      chunks_.scan([&](const Digest& digest) {
        attempt("chunk " + digest.short_hex(), [&] {
          const Bytes bytes = chunks_.get(digest);
          ++report_.chunks;
          report_.chunk_bytes += bytes.size();
          if (chunks_.size_bytes(digest) != bytes.size())
            throw Error(ErrorCode::corrupt, "its recorded size is not its size");
        });
        return true;
      });
    });
  }

  void objects(const ObjectCheck& check) {
    records(Catalog::objects, [&](std::string_view key, std::string_view value) {
      const StoredObject object = Catalog::decode_object(key, value);
      ++report_.objects;
      require_chunks(object.chunks);
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
          for (const JournalEvent& event : catalog_.read_journal(job_id)) {
            ++report_.events;
            require_chunks(event.chunks);
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

  void require_chunks(std::span<const Digest> digests) {
    for (const Digest& digest : digests)
      if (!chunks_.size_bytes(digest))
        throw Error(ErrorCode::corrupt, "chunk " + digest.hex() + ", which it refers to, is missing");
  }

  void note(std::uint64_t& count, const std::string& finding) {
    ++count;
    if (report_.findings.size() < VerifyReport::kFindingsMax) report_.findings.push_back(finding);
  }

  const Chunks& chunks_;
  const Catalog& catalog_;
  VerifyReport report_;
};

}  // namespace

VerifyReport verify_records(const Chunks& chunks, const Catalog& catalog, const ObjectCheck& check) {
  Walk walk(chunks, catalog);
  walk.format();
  walk.chunks();
  walk.objects(check);
  walk.refs();
  walk.journals();
  walk.results();
  return walk.take();
}

}  // namespace quench::coordinator
