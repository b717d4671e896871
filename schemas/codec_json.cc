// JSON by schema: one walker fills a message from a job file and collects every mistake, another writes a
// message as JSON. Keys, types and enum names come from the schema alone.
#include <capnp/dynamic.h>
#include <capnp/message.h>
#include <kj/exception.h>

#include <algorithm>
#include <cctype>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "schemas/artifact.capnp.h"
#include "schemas/codec.h"
#include "schemas/codec_internal.h"
#include "schemas/error.h"
#include "schemas/job.capnp.h"
#include "schemas/job_checks.h"
#include "schemas/json_document.h"
#include "schemas/nearest_name.h"
#include "schemas/service.capnp.h"
#include "schemas/service_fields.h"
#include "schemas/service_json.h"
#include "schemas/small_file.h"

namespace quench {
namespace {

using capnp::DynamicEnum;
using capnp::DynamicList;
using capnp::DynamicStruct;
using capnp::DynamicValue;
using Field = capnp::StructSchema::Field;

constexpr std::size_t kJobFileBytesMax = 1 << 20;
constexpr std::size_t kJobValuesMax = 100'000;
constexpr std::size_t kListItemsMax = 4096;

std::string name_of(capnp::Text::Reader text) { return {text.cStr(), text.size()}; }

// --- From JSON ------------------------------------------------------------------------------
class MessageFiller {
 public:
  MessageFiller(JsonPlaces& places, std::vector<JsonMistake>& mistakes)
      : places_(places), mistakes_(mistakes) {}

  void fill(DynamicStruct::Builder out, const JsonValue& value, const std::string& pointer) {
    const auto* members = value.as<JsonValue::Object>();
    if (members == nullptr) return mistaken(pointer, value, "expected an object");
    for (const JsonMember& member : *members) {
      const std::string here = pointer_to(pointer, member.key);
      if (!places_.emplace(here, member.value.place).second) continue;  // a duplicate, reported already
      KJ_IF_MAYBE (field,
                   out.getSchema().findFieldByName(kj::StringPtr(member.key.c_str(), member.key.size()))) {
        fill_field(out, *field, member.value, here);
      } else {
        mistakes_.push_back(
            {here, member.place, "unknown key" + known_names(member.key, keys_of(out.getSchema()))});
      }
    }
  }

 private:
  static std::vector<std::string> keys_of(capnp::StructSchema schema) {
    std::vector<std::string> keys;
    for (const Field field : schema.getFields()) keys.push_back(name_of(field.getProto().getName()));
    return keys;
  }

  void mistaken(const std::string& pointer, const JsonValue& value, const std::string& expected) {
    const std::string remedy = value.as<std::nullptr_t>() ? "; leave the key out for its default" : "";
    mistakes_.push_back({pointer, value.place, "found " + value.found() + "; " + expected + remedy});
  }

  void fill_field(DynamicStruct::Builder out, Field field, const JsonValue& value,
                  const std::string& pointer) {
    const capnp::Type type = field.getType();
    if (type.isStruct()) {
      fill(out.init(field).as<DynamicStruct>(), value, pointer);
    } else if (type.isList()) {
      const auto* items = value.as<JsonValue::List>();
      if (items == nullptr) return mistaken(pointer, value, "expected a list");
      if (items->size() > kListItemsMax)
        return mistaken(pointer, value, "expected at most " + std::to_string(kListItemsMax) + " items");
      auto list = out.init(field, static_cast<unsigned>(items->size())).as<DynamicList>();
      for (unsigned i = 0; i < items->size(); ++i) {
        const std::string here = pointer_to(pointer, std::size_t{i});
        places_.emplace(here, (*items)[i].place);
        if (type.asList().getElementType().isStruct()) {
          fill(list[i].as<DynamicStruct>(), (*items)[i], here);
        } else if (const auto scalar = scalar_of(type.asList().getElementType(), (*items)[i], here)) {
          list.set(i, *scalar);
        }
      }
    } else if (const auto scalar = scalar_of(type, value, pointer)) {
      out.set(field, *scalar);
    }
  }

  // The value as the schema's type; nothing when it does not fit, which is noted.
  std::optional<DynamicValue::Reader> scalar_of(capnp::Type type, const JsonValue& value,
                                                const std::string& pointer) {
    switch (type.which()) {
      case capnp::schema::Type::BOOL:
        if (const auto* flag = value.as<bool>()) return DynamicValue::Reader(*flag);
        mistaken(pointer, value, "expected true or false");
        return std::nullopt;
      case capnp::schema::Type::INT32:
        return integer<std::int32_t>(value, pointer);
      case capnp::schema::Type::INT64:
        return integer<std::int64_t>(value, pointer);
      case capnp::schema::Type::UINT32:
        return integer<std::uint32_t>(value, pointer);
      case capnp::schema::Type::UINT64:
        return integer<std::uint64_t>(value, pointer);
      case capnp::schema::Type::FLOAT64:
        if (const auto* real = value.as<double>()) return DynamicValue::Reader(*real);
        if (const auto* number = value.as<std::uint64_t>())
          return DynamicValue::Reader(static_cast<double>(*number));
        if (const auto* number = value.as<std::int64_t>())
          return DynamicValue::Reader(static_cast<double>(*number));
        mistaken(pointer, value, "expected a number");
        return std::nullopt;
      case capnp::schema::Type::TEXT:
        return text(value, pointer);
      case capnp::schema::Type::ENUM:
        return enumerant(type.asEnum(), value, pointer);
      default:
        QUENCH_CHECK(false, static_cast<int>(type.which()));
        return std::nullopt;
    }
  }

  template <typename T>
  std::optional<DynamicValue::Reader> integer(const JsonValue& value, const std::string& pointer) {
    using Limits = std::numeric_limits<T>;
    if (const auto* number = value.as<std::uint64_t>(); number != nullptr && std::in_range<T>(*number))
      return DynamicValue::Reader(static_cast<T>(*number));
    if (const auto* number = value.as<std::int64_t>(); number != nullptr && std::in_range<T>(*number))
      return DynamicValue::Reader(static_cast<T>(*number));
    mistaken(
        pointer, value,
        "expected an integer from " + std::to_string(Limits::min()) + " to " + std::to_string(Limits::max()));
    return std::nullopt;
  }

  std::optional<DynamicValue::Reader> text(const JsonValue& value, const std::string& pointer) {
    const auto* string = value.as<std::string>();
    if (string != nullptr && string->find('\0') == std::string::npos)
      return DynamicValue::Reader(capnp::Text::Reader(string->c_str(), string->size()));
    mistaken(pointer, value, string == nullptr ? "expected a string" : "expected no zero character in it");
    return std::nullopt;
  }

  std::optional<DynamicValue::Reader> enumerant(capnp::EnumSchema schema, const JsonValue& value,
                                                const std::string& pointer) {
    std::vector<std::string> known;
    for (const auto item : schema.getEnumerants()) known.push_back(name_of(item.getProto().getName()));
    const auto* string = value.as<std::string>();
    if (string != nullptr) {
      if (const auto found = std::find(known.begin(), known.end(), *string); found != known.end())
        return DynamicValue::Reader(DynamicEnum(schema, static_cast<std::uint16_t>(found - known.begin())));
    }
    mistakes_.push_back({pointer, value.place,
                         (string == nullptr ? "found " + value.found() + "; expected a name"
                                            : "unknown name " + value.found()) +
                             known_names(string == nullptr ? "" : *string, known)});
    return std::nullopt;
  }

  JsonPlaces& places_;
  std::vector<JsonMistake>& mistakes_;
};

// --- To JSON --------------------------------------------------------------------------------
enum class KeyStyle {
  camel,  // as the schema and the job file have it
  snake,  // as --json documents have it
};

std::string key_in(KeyStyle style, const std::string& name) {
  if (style == KeyStyle::camel) return name;
  std::string out;
  for (const char c : name) {
    if (std::isupper(static_cast<unsigned char>(c))) out += '_';
    out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

nlohmann::ordered_json json_of(const DynamicValue::Reader& value, KeyStyle style) {
  switch (value.getType()) {
    case DynamicValue::BOOL:
      return value.as<bool>();
    case DynamicValue::INT:
      return value.as<std::int64_t>();
    case DynamicValue::UINT:
      return value.as<std::uint64_t>();
    case DynamicValue::FLOAT:
      return value.as<double>();
    case DynamicValue::TEXT:
      return name_of(value.as<capnp::Text>());
    case DynamicValue::DATA: {
      const auto data = value.as<capnp::Data>();
      if (data.size() == 0) return nullptr;  // no digest
      return Digest::from_bytes({data.begin(), data.size()}).hex();
    }
    case DynamicValue::ENUM: {
      KJ_IF_MAYBE (item, value.as<DynamicEnum>().getEnumerant()) {
        return key_in(style, name_of(item->getProto().getName()));
      }
      return value.as<DynamicEnum>().getRaw();
    }
    case DynamicValue::LIST: {
      auto list = nlohmann::ordered_json::array();
      for (const auto item : value.as<DynamicList>()) list.push_back(json_of(item, style));
      return list;
    }
    case DynamicValue::STRUCT: {
      const auto in = value.as<DynamicStruct>();
      auto object = nlohmann::ordered_json::object();
      for (const Field field : in.getSchema().getFields()) {
        // A text without a default is left out when empty: an empty name is no name.
        const bool is_optional_text =
            field.getType().isText() && !field.getProto().getSlot().getHadExplicitDefault();
        const bool is_optional_struct = field.getType().isStruct() && !in.has(field);
        if ((is_optional_text && !in.has(field)) || is_optional_struct) continue;
        object[key_in(style, name_of(field.getProto().getName()))] = json_of(in.get(field), style);
      }
      return object;
    }
    default:
      QUENCH_CHECK(false, static_cast<int>(value.getType()));
      return nullptr;
  }
}

// `bytes` come from our own encoder.
template <typename Schema>
std::string json_text(const Bytes& bytes, KeyStyle style, int indent = 2) {
  auto words = kj::heapArray<capnp::word>(bytes.size() / sizeof(capnp::word));
  std::copy(bytes.begin(), bytes.end(), words.asBytes().begin());
  const kj::ArrayPtr<const capnp::word> segments[] = {words};
  capnp::ReaderOptions options;
  options.traversalLimitInWords = ~std::uint64_t{0};
  capnp::SegmentArrayMessageReader message(segments, options);
  const auto root = message.getRoot<DynamicStruct>(capnp::Schema::from<Schema>());
  // Names are not always UTF-8: what is not is shown as U+FFFD.
  return json_of(root, style).dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace) +
         (indent < 0 ? "" : "\n");
}

// --- What the JSON looks like ---------------------------------------------------------------
nlohmann::ordered_json shape_of(capnp::Type type, KeyStyle style) {
  using nlohmann::ordered_json;
  switch (type.which()) {
    case capnp::schema::Type::BOOL:
      return {{"type", "boolean"}};
    case capnp::schema::Type::FLOAT32:
    case capnp::schema::Type::FLOAT64:
      return {{"type", "number"}};
    case capnp::schema::Type::TEXT:
      return {{"type", "string"}};
    case capnp::schema::Type::DATA:
      return {{"type", ordered_json::array({"string", "null"})}, {"pattern", "^[0-9a-f]{64}$"}};
    case capnp::schema::Type::LIST:
      return {{"type", "array"}, {"items", shape_of(type.asList().getElementType(), style)}};
    case capnp::schema::Type::ENUM: {
      ordered_json names = ordered_json::array();
      for (const auto item : type.asEnum().getEnumerants())
        names.push_back(key_in(style, name_of(item.getProto().getName())));
      return {{"type", "string"}, {"enum", std::move(names)}};
    }
    case capnp::schema::Type::STRUCT: {
      ordered_json properties = ordered_json::object();
      for (const Field field : type.asStruct().getFields())
        properties[key_in(style, name_of(field.getProto().getName()))] = shape_of(field.getType(), style);
      return {{"type", "object"}, {"properties", std::move(properties)}};
    }
    default:
      return {{"type", "integer"}};
  }
}

void throw_by_place(std::vector<JsonMistake>& mistakes) {
  std::stable_sort(mistakes.begin(), mistakes.end(), [](const JsonMistake& a, const JsonMistake& b) {
    return std::pair(a.place.line, a.place.column) < std::pair(b.place.line, b.place.column);
  });
  throw_mistakes(mistakes);
}

// A message filled from JSON by the schema alone; mistakes are collected, not thrown.
template <typename Schema>
Bytes bytes_of_json(const JsonDocument& document, JsonPlaces& places, std::vector<JsonMistake>& mistakes) {
  capnp::MallocMessageBuilder message;
  MessageFiller(places, mistakes)
      .fill(message.initRoot<DynamicStruct>(capnp::Schema::from<Schema>()), document.root, "");
  const kj::Array<capnp::word> words = message.getRoot<capnp::AnyStruct>().asReader().canonicalize();
  return {words.asBytes().begin(), words.asBytes().end()};
}

}  // namespace

JobSpec parse_job(std::string_view json, const std::string& origin, const std::filesystem::path& base_dir) {
  return in_context(origin, [&] {
    if (json.size() > kJobFileBytesMax)
      throw Error(ErrorCode::bad_input, "larger than " + std::to_string(kJobFileBytesMax) + " bytes");
    JsonDocument document = parse_json(json, kJobValuesMax);
    std::vector<JsonMistake> mistakes = std::move(document.duplicates);
    JsonPlaces places = {{"", document.root.place}};
    const Bytes bytes = bytes_of_json<schema::JobSpec>(document, places, mistakes);
    if (document.root.as<JsonValue::Object>() == nullptr) throw_mistakes(mistakes);
    const JobSpec job = detail::decode_job(bytes);
    check_job(job, places, mistakes);
    throw_by_place(mistakes);
    return completed_job(job, places, base_dir);
  });
}

JobSpec read_job(const std::filesystem::path& file) {
  return parse_job(read_small_file(file, kJobFileBytesMax), file.string(),
                   std::filesystem::absolute(file).parent_path());
}

std::string job_to_json(const JobSpec& job) {
  return json_text<schema::JobSpec>(detail::encode_job(job), KeyStyle::camel);
}

std::string manifest_to_json(const Manifest& manifest) {
  return json_text<schema::Manifest>(encode(manifest), KeyStyle::snake);
}

#define QUENCH_SERVICE_JSON(Type)                                                                    \
  template <>                                                                                        \
  std::string to_json(const Type& value) {                                                           \
    return json_text<schema::Type>(detail::encode_service(value), KeyStyle::snake, -1);              \
  }                                                                                                  \
  template <>                                                                                        \
  Type from_json(std::string_view json, const std::string& origin) {                                 \
    return in_context(origin, [&] {                                                                  \
      JsonDocument document = parse_json(json, kJobValuesMax);                                       \
      std::vector<JsonMistake> mistakes = std::move(document.duplicates);                            \
      JsonPlaces places = {{"", document.root.place}};                                               \
      const Bytes bytes = bytes_of_json<schema::Type>(document, places, mistakes);                   \
      throw_by_place(mistakes);                                                                      \
      return detail::decode_service<Type>(bytes);                                                    \
    });                                                                                              \
  }
QUENCH_SERVICE_TYPES(QUENCH_SERVICE_JSON)
#undef QUENCH_SERVICE_JSON

std::string service_shapes_json() {
  nlohmann::ordered_json shapes;
  const auto add = [&](const char* name, capnp::StructSchema schema, KeyStyle style) {
    shapes[name] = shape_of(schema, style);
  };
  add("JobSpec", capnp::Schema::from<schema::JobSpec>(), KeyStyle::camel);
#define QUENCH_SERVICE_SHAPE(Type) \
  add(#Type, capnp::Schema::from<schema::Type>(), \
      std::string_view(#Type).ends_with("Request") ? KeyStyle::camel : KeyStyle::snake);
  QUENCH_SERVICE_TYPES(QUENCH_SERVICE_SHAPE)
#undef QUENCH_SERVICE_SHAPE
  return shapes.dump(2);
}

}  // namespace quench
