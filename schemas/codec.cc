// Values to canonical Cap'n Proto messages and back, over the field lists of value_fields.h. A message is
// one segment without a segment table: the bytes are exactly those whose digest names it.
#include "schemas/codec.h"

#include <capnp/dynamic.h>
#include <capnp/message.h>
#include <kj/exception.h>

#include <algorithm>
#include <optional>
#include <type_traits>
#include <utility>

#include "schemas/artifact.capnp.h"
#include "schemas/codec_internal.h"
#include "schemas/error.h"
#include "schemas/job.capnp.h"
#include "schemas/journal.capnp.h"
#include "schemas/service.capnp.h"
#include "schemas/service_fields.h"
#include "schemas/value_fields.h"
#include "schemas/wire.capnp.h"

namespace quench {
namespace {

using capnp::DynamicEnum;
using capnp::DynamicList;
using capnp::DynamicStruct;

static_assert(std::is_same_v<Bytes, std::vector<std::uint8_t>>);

constexpr std::size_t kJobBytesMax = 8 << 20;
constexpr std::size_t kRecordBytesMax = 8 << 20;  // run records and verdicts
constexpr std::size_t kJournalBytesMax = 64 << 20;
constexpr std::size_t kServiceBytesMax = 64 << 20;  // a list of 10,000 jobs takes some 5 MB
// Deepest: Message, order, job, quantize list, spec. The rest is room for later.
constexpr int kNestingLevelsMax = 64;
// Lists of structs whose fields are all defaults take no bytes in a message but do take memory here.
constexpr std::uint64_t kEmptyStructsMax = 4096;

template <typename T>
struct IsVector : std::false_type {};
template <typename T>
struct IsVector<std::vector<T>> : std::true_type {};
template <typename T>
struct IsOptional : std::false_type {};
template <typename T>
struct IsOptional<std::optional<T>> : std::true_type {};

// --- Writing --------------------------------------------------------------------------------
capnp::Text::Reader as_text(const std::string& text) { return {text.c_str(), text.size()}; }

// An archive over a struct being built. A field at its default stays unset, so that a field added to a
// schema later leaves the canonical bytes of older values as they were.
class Writer {
 public:
  explicit Writer(DynamicStruct::Builder out) : out_(out) {}

  template <typename T>
  void operator()(const char* name, const T& value) {
    const capnp::StructSchema::Field field = out_.getSchema().getFieldByName(name);
    if constexpr (std::is_arithmetic_v<T>) {
      out_.set(field, value);
    } else if constexpr (std::is_enum_v<T>) {
      const capnp::EnumSchema schema = field.getType().asEnum();
      const auto raw = static_cast<std::uint64_t>(value);
      QUENCH_CHECK(raw < schema.getEnumerants().size(), name, raw);
      out_.set(field, DynamicEnum(schema, static_cast<std::uint16_t>(raw)));
    } else if constexpr (std::is_same_v<T, LeaseId>) {
      out_.set(field, value.value);
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (!value.empty() || field.getProto().getSlot().getHadExplicitDefault())
        out_.set(field, as_text(value));
    } else if constexpr (std::is_same_v<T, Digest>) {
      if (!value.is_none()) out_.set(field, capnp::Data::Reader(value.bytes.data(), value.bytes.size()));
    } else if constexpr (IsVector<T>::value) {
      if (!value.empty())
        list(out_.init(field, static_cast<unsigned>(value.size())).template as<DynamicList>(), value);
    } else if constexpr (IsOptional<T>::value) {
      if (!value) return;
      Writer nested(out_.init(field).template as<DynamicStruct>());
      fields(nested, *value);
    } else {
      Writer nested(out_.init(field).template as<DynamicStruct>());
      fields(nested, value);
    }
  }

 private:
  template <typename T>
  void list(DynamicList::Builder out, const std::vector<T>& values) {
    for (unsigned i = 0; i < values.size(); ++i) {
      if constexpr (std::is_arithmetic_v<T>) {
        out.set(i, values[i]);
      } else if constexpr (std::is_same_v<T, std::string>) {
        out.set(i, as_text(values[i]));
      } else {
        Writer nested(out[i].template as<DynamicStruct>());
        fields(nested, values[i]);
      }
    }
  }

  DynamicStruct::Builder out_;
};

// Runs `build` on the root and returns the canonical bytes.
template <typename Schema, typename Build>
Bytes canonical_bytes(std::size_t bytes_max, const char* what, Build&& build) {
  Bytes bytes;
  try {
    capnp::MallocMessageBuilder message;
    build(message.initRoot<DynamicStruct>(capnp::Schema::from<Schema>()));
    const kj::Array<capnp::word> words = message.getRoot<capnp::AnyStruct>().asReader().canonicalize();
    bytes.assign(words.asBytes().begin(), words.asBytes().end());
  } catch (const kj::Exception& exception) {
    throw Error(ErrorCode::internal,
                std::string("cannot encode ") + what + ": " + exception.getDescription().cStr());
  }
  if (bytes.size() > bytes_max)
    throw Error(ErrorCode::failed, std::string(what) + " takes " + std::to_string(bytes.size()) +
                                       " bytes; the limit is " + std::to_string(bytes_max));
  return bytes;
}

template <typename Schema, typename T>
Bytes encode_struct(const T& value, std::size_t bytes_max, const char* what) {
  return canonical_bytes<Schema>(bytes_max, what, [&](DynamicStruct::Builder root) {
    Writer writer(root);
    fields(writer, value);
  });
}

template <typename Schema, typename... Alternatives>
Bytes encode_union(const std::variant<Alternatives...>& value, std::size_t bytes_max, const char* what) {
  return canonical_bytes<Schema>(bytes_max, what, [&](DynamicStruct::Builder root) {
    std::visit(
        [&](const auto& alternative) {
          const char* name = kAlternativeName<std::remove_cvref_t<decltype(alternative)>>;
          Writer writer(root.init(name).template as<DynamicStruct>());
          fields(writer, alternative);
        },
        value);
  });
}

// --- Reading --------------------------------------------------------------------------------
[[noreturn]] void corrupt_field(const char* name, const std::string& what) {
  throw Error(ErrorCode::corrupt, std::string("field ") + name + ": " + what);
}

// An archive over a received struct; every value of foreign origin is checked before it is taken.
class Reader {
 public:
  Reader(DynamicStruct::Reader in, std::uint64_t& structs_left) : in_(in), structs_left_(structs_left) {}

  template <typename T>
  void operator()(const char* name, T& value) {
    const capnp::StructSchema::Field field = in_.getSchema().getFieldByName(name);
    if constexpr (std::is_arithmetic_v<T>) {
      value = in_.get(field).template as<T>();
    } else if constexpr (std::is_enum_v<T>) {
      const std::uint16_t raw = in_.get(field).template as<DynamicEnum>().getRaw();
      const std::size_t known = field.getType().asEnum().getEnumerants().size();
      if (raw >= known)
        corrupt_field(name, "enum value " + std::to_string(raw) + " where fewer than " +
                                std::to_string(known) + " are known");
      value = static_cast<T>(raw);
    } else if constexpr (std::is_same_v<T, LeaseId>) {
      value.value = in_.get(field).template as<std::uint64_t>();
    } else if constexpr (std::is_same_v<T, std::string>) {
      const auto text = in_.get(field).template as<capnp::Text>();
      value.assign(text.begin(), text.size());
    } else if constexpr (std::is_same_v<T, Digest>) {
      const auto data = in_.get(field).template as<capnp::Data>();
      if (data.size() != 0 && data.size() != value.bytes.size())
        corrupt_field(name, "a digest of " + std::to_string(data.size()) + " bytes instead of 32");
      value = Digest{};
      std::copy(data.begin(), data.end(), value.bytes.begin());
    } else if constexpr (IsVector<T>::value) {
      list(name, in_.get(field).template as<DynamicList>(), value);
    } else if constexpr (IsOptional<T>::value) {
      value.reset();
      if (!in_.has(field)) return;
      Reader nested(in_.get(field).template as<DynamicStruct>(), structs_left_);
      fields(nested, value.emplace());
    } else {
      Reader nested(in_.get(field).template as<DynamicStruct>(), structs_left_);
      fields(nested, value);
      if constexpr (std::is_same_v<T, ChunkRef>) check_chunk(name, value);
    }
  }

 private:
  template <typename T>
  void list(const char* name, DynamicList::Reader in, std::vector<T>& values) {
    values.clear();
    for (unsigned i = 0; i < in.size(); ++i) {
      if constexpr (std::is_arithmetic_v<T>) {
        values.push_back(in[i].template as<T>());
      } else if constexpr (std::is_same_v<T, std::string>) {
        const auto text = in[i].template as<capnp::Text>();
        values.emplace_back(text.begin(), text.size());
      } else {
        if (structs_left_ == 0) corrupt_field(name, "more list elements than its bytes can hold");
        --structs_left_;
        Reader nested(in[i].template as<DynamicStruct>(), structs_left_);
        fields(nested, values.emplace_back());
        if constexpr (std::is_same_v<T, ChunkRef>) check_chunk(name, values.back());
      }
    }
  }

  static void check_chunk(const char* name, const ChunkRef& chunk) {
    if (chunk.bytes > kChunkBytesMax)
      corrupt_field(name, "a chunk of " + std::to_string(chunk.bytes) + " bytes; the limit is " +
                              std::to_string(kChunkBytesMax));
  }

  DynamicStruct::Reader in_;
  std::uint64_t& structs_left_;
};

// Checks the bytes' size and runs `read` on the root; whatever Cap'n Proto finds wrong is Error(corrupt).
template <typename Schema, typename Read>
auto from_bytes(std::span<const std::uint8_t> bytes, std::size_t bytes_max, const char* what, Read&& read) {
  return in_context(what, [&] {
    if (bytes.empty() || bytes.size() % sizeof(capnp::word) != 0 || bytes.size() > bytes_max)
      throw Error(ErrorCode::corrupt, "its size of " + std::to_string(bytes.size()) +
                                          " bytes is not a multiple of 8 between 8 and " +
                                          std::to_string(bytes_max));
    // A copy, because frames and stored values are not aligned to words.
    auto words = kj::heapArray<capnp::word>(bytes.size() / sizeof(capnp::word));
    std::copy(bytes.begin(), bytes.end(), words.asBytes().begin());
    try {
      const kj::ArrayPtr<const capnp::word> segments[] = {words};
      capnp::ReaderOptions options;
      // Every word is visited once; the rest covers empty lists. Aliased pointers run into this limit.
      options.traversalLimitInWords = 2 * words.size() + 2 * kEmptyStructsMax;
      options.nestingLimit = kNestingLevelsMax;
      capnp::SegmentArrayMessageReader message(segments, options);
      std::uint64_t structs_left = words.size() + kEmptyStructsMax;
      return read(message.getRoot<DynamicStruct>(capnp::Schema::from<Schema>()), structs_left);
    } catch (const kj::Exception& exception) {
      throw Error(ErrorCode::corrupt, std::string("malformed message: ") + exception.getDescription().cStr());
    }
  });
}

template <typename Schema, typename T>
T decode_struct(std::span<const std::uint8_t> bytes, std::size_t bytes_max, const char* what) {
  return from_bytes<Schema>(bytes, bytes_max, what,
                            [](DynamicStruct::Reader root, std::uint64_t& structs_left) {
                              T value;
                              Reader reader(root, structs_left);
                              fields(reader, value);
                              return value;
                            });
}

// Tries each alternative's name in turn; the set one is decoded into `value`.
template <typename Alternative, typename Variant>
bool decode_alternative(std::string_view name, DynamicStruct::Reader in, std::uint64_t& structs_left,
                        Variant& value) {
  if (name != kAlternativeName<Alternative>) return false;
  Reader reader(in, structs_left);
  fields(reader, value.template emplace<Alternative>());
  return true;
}

template <typename Schema, typename... Alternatives>
void decode_union(std::span<const std::uint8_t> bytes, std::size_t bytes_max, const char* what,
                  std::variant<Alternatives...>& value) {
  from_bytes<Schema>(bytes, bytes_max, what, [&](DynamicStruct::Reader root, std::uint64_t& structs_left) {
    KJ_IF_MAYBE (field, root.which()) {
      const auto name = field->getProto().getName();
      const auto in = root.get(*field).template as<DynamicStruct>();
      if ((decode_alternative<Alternatives>(std::string_view(name.cStr(), name.size()), in, structs_left,
                                            value) ||
           ...))
        return;
    }
    throw Error(ErrorCode::corrupt, "an alternative that this build does not know");
  });
}

}  // namespace

Bytes encode(const Message& message) {
  return encode_union<schema::Message>(message, kMessageBytesMax, "message");
}

Message decode_message(std::span<const std::uint8_t> bytes) {
  Message message;
  decode_union<schema::Message>(bytes, kMessageBytesMax, "message", message);
  return message;
}

Bytes encode(const JournalEvent& event) {
  return encode_union<schema::JournalEvent>(event, kJournalBytesMax, "journal event");
}

JournalEvent decode_journal_event(std::span<const std::uint8_t> bytes) {
  JournalEvent event;
  decode_union<schema::JournalEvent>(bytes, kJournalBytesMax, "journal event", event);
  return event;
}

Bytes encode(const Manifest& manifest) {
  if (manifest.recipe.name.empty())
    return encode_struct<schema::Manifest>(manifest, kManifestBytesMax, "manifest");
  Manifest nameless = manifest;
  nameless.recipe.name.clear();
  return encode(nameless);
}

Manifest decode_manifest(std::span<const std::uint8_t> bytes) {
  Manifest manifest = decode_struct<schema::Manifest, Manifest>(bytes, kManifestBytesMax, "manifest");
  constexpr std::uint32_t kFormatVersion = Manifest{}.format_version;
  if (manifest.format_version != kFormatVersion)
    throw Error(ErrorCode::corrupt, "manifest: format version " + std::to_string(manifest.format_version) +
                                        "; this build reads version " + std::to_string(kFormatVersion) +
                                        ": use the build that wrote it or a newer one");
  // One value, one digest: other bytes for the same value would be another name for the same artifact.
  const Bytes again = encode(manifest);
  if (!std::equal(again.begin(), again.end(), bytes.begin(), bytes.end()))
    throw Error(ErrorCode::corrupt, "manifest: its bytes are not the canonical form of what they say");
  return manifest;
}

Digest manifest_digest(const Manifest& manifest) { return sha256(encode(manifest)); }

Bytes encode(const RunRecord& record) {
  return encode_struct<schema::RunRecord>(record, kRecordBytesMax, "run record");
}

RunRecord decode_run_record(std::span<const std::uint8_t> bytes) {
  return decode_struct<schema::RunRecord, RunRecord>(bytes, kRecordBytesMax, "run record");
}

Bytes encode(const PhaseUsage& usage) {
  return encode_struct<schema::PhaseUsage>(usage, kRecordBytesMax, "phase usage");
}

PhaseUsage decode_phase_usage(std::span<const std::uint8_t> bytes) {
  return decode_struct<schema::PhaseUsage, PhaseUsage>(bytes, kRecordBytesMax, "phase usage");
}

Bytes encode(const Verdict& verdict) {
  return encode_struct<schema::Verdict>(verdict, kRecordBytesMax, "verdict");
}

Verdict decode_verdict(std::span<const std::uint8_t> bytes) {
  return decode_struct<schema::Verdict, Verdict>(bytes, kRecordBytesMax, "verdict");
}

Digest job_id(const JobSpec& job, const Digest& source) {
  JobSpec lasting = job;
  lasting.ranks = 0;
  lasting.threads = 0;
  // How an endpoint is asked, not what.
  lasting.concurrency = JobSpec{}.concurrency;
  lasting.request_seconds = JobSpec{}.request_seconds;
  lasting.request_tries = JobSpec{}.request_tries;
  lasting.api_key_variable.clear();
  const Bytes bytes = detail::encode_job(lasting);
  return Hasher().update_u64(bytes.size()).update(bytes).update(source.span()).finish();
}

Digest evaluation_digest(const EvaluationKey& key) {
  EvaluationKey lasting = key;
  lasting.spec.samples = 0;
  lasting.spec.tasks = 0;
  lasting.spec.sandbox = {};  // a permission; what a verdict was made in is told by the verdict
  return sha256(encode_struct<schema::EvaluationKey>(lasting, kRecordBytesMax, "evaluation key"));
}

std::vector<std::uint8_t> detail::encode_job(const JobSpec& job) {
  return encode_struct<schema::JobSpec>(job, kJobBytesMax, "job");
}

JobSpec detail::decode_job(std::span<const std::uint8_t> bytes) {
  return decode_struct<schema::JobSpec, JobSpec>(bytes, kJobBytesMax, "job");
}

#define QUENCH_SERVICE_CODEC(Type)                                                   \
  template <>                                                                        \
  std::vector<std::uint8_t> detail::encode_service(const Type& value) {              \
    return encode_struct<schema::Type>(value, kServiceBytesMax, #Type);              \
  }                                                                                  \
  template <>                                                                        \
  Type detail::decode_service(std::span<const std::uint8_t> bytes) {                 \
    return decode_struct<schema::Type, Type>(bytes, kServiceBytesMax, #Type);        \
  }
QUENCH_SERVICE_TYPES(QUENCH_SERVICE_CODEC)
#undef QUENCH_SERVICE_CODEC

}  // namespace quench
