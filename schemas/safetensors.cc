// The header of a safetensors file, read as if its writer meant harm: eight bytes of length, then JSON
// {"name": {"dtype": …, "shape": […], "data_offsets": [begin, end]}, "__metadata__": {…}}, then the data.
#include "schemas/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "schemas/error.h"
#include "schemas/json_document.h"

namespace quench {
namespace {

constexpr std::uint64_t kHeaderBytesMax = 100'000'000;  // the format's own limit
constexpr std::size_t kHeaderValuesMax = 1'000'000;     // 100,000 matrices; bounds memory at 100 MB
constexpr std::size_t kDimensionsMax = 16;

struct DTypeName {
  DType dtype;
  std::string_view name;
  std::uint32_t bytes;
};
constexpr std::array kDTypes = {
    DTypeName{DType::f32, "F32", 4},      DTypeName{DType::f16, "F16", 2}, DTypeName{DType::bf16, "BF16", 2},
    DTypeName{DType::f64, "F64", 8},      DTypeName{DType::i8, "I8", 1},   DTypeName{DType::u8, "U8", 1},
    DTypeName{DType::i16, "I16", 2},      DTypeName{DType::i32, "I32", 4}, DTypeName{DType::i64, "I64", 8},
    DTypeName{DType::boolean, "BOOL", 1},
};

const DTypeName& entry_of(DType dtype) {
  for (const DTypeName& candidate : kDTypes)
    if (candidate.dtype == dtype) return candidate;
  QUENCH_CHECK(false, static_cast<int>(dtype));
  return kDTypes[0];
}

[[noreturn]] void wrong(const std::string& what) { throw Error(ErrorCode::bad_input, what); }

DType dtype_of(const JsonValue* value) {
  if (value == nullptr) wrong("\"dtype\" is missing");
  std::string known;
  for (const DTypeName& candidate : kDTypes) {
    if (const auto* text = value->as<std::string>(); text != nullptr && *text == candidate.name)
      return candidate.dtype;
    known += (known.empty() ? "" : ", ") + std::string(candidate.name);
  }
  wrong("\"dtype\" is " + value->found() + "; known: " + known);
}

std::vector<std::uint64_t> integers(const JsonValue* value, const char* key, std::size_t count_max) {
  if (value == nullptr) wrong(std::string("\"") + key + "\" is missing");
  const auto* list = value->as<JsonValue::List>();
  if (list == nullptr || list->size() > count_max)
    wrong(std::string("\"") + key + "\" is " + value->found() + "; expected a list of at most " +
          std::to_string(count_max) + " integers");
  std::vector<std::uint64_t> numbers;
  for (const JsonValue& item : *list) {
    const auto* number = item.as<std::uint64_t>();
    if (number == nullptr)
      wrong(std::string("\"") + key + "\" holds " + item.found() + "; expected integers from 0");
    numbers.push_back(*number);
  }
  return numbers;
}

std::uint64_t shape_bytes(const std::vector<std::uint64_t>& shape, DType dtype) {
  std::uint64_t bytes = dtype_bytes(dtype);
  for (const std::uint64_t extent : shape)
    if (__builtin_mul_overflow(bytes, extent, &bytes))
      wrong("\"shape\" has more elements than 64 bits can count");
  return bytes;
}

TensorEntry entry_from(const JsonValue& value, std::uint64_t data_start, std::uint64_t data_bytes) {
  const auto* members = value.as<JsonValue::Object>();
  if (members == nullptr) wrong("found " + value.found() + "; expected an object");
  for (const JsonMember& member : *members)
    if (member.key != "dtype" && member.key != "shape" && member.key != "data_offsets")
      wrong("unknown key \"" + member.key.substr(0, 60) + "\"; known: dtype, shape, data_offsets");
  TensorEntry entry;
  entry.dtype = dtype_of(value.find("dtype"));
  entry.shape = integers(value.find("shape"), "shape", kDimensionsMax);
  const std::vector<std::uint64_t> offsets = integers(value.find("data_offsets"), "data_offsets", 2);
  if (offsets.size() != 2)
    wrong("\"data_offsets\" has " + std::to_string(offsets.size()) + " numbers; expected 2");
  const std::string range =
      std::string("[") + std::to_string(offsets[0]) + ", " + std::to_string(offsets[1]) + "]";
  if (offsets[0] > offsets[1]) wrong("\"data_offsets\" " + range + " end before they begin");
  if (offsets[1] > data_bytes)
    wrong("\"data_offsets\" " + range + " reach beyond the " + std::to_string(data_bytes) +
          " bytes of data in the file: truncated, or its header lies");
  entry.file_offset = data_start + offsets[0];
  entry.bytes = offsets[1] - offsets[0];
  if (const std::uint64_t expected = shape_bytes(entry.shape, entry.dtype); entry.bytes != expected)
    wrong("\"data_offsets\" " + range + " span " + std::to_string(entry.bytes) + " bytes; its shape and " +
          std::string(to_string(entry.dtype)) + " take " + std::to_string(expected));
  return entry;
}

// Every byte of data belongs to exactly one tensor.
void check_cover(const SafetensorsHeader& header, std::uint64_t data_start, std::uint64_t file_bytes) {
  std::vector<std::pair<const std::string*, const TensorEntry*>> ordered;
  for (const auto& [name, entry] : header.tensors) ordered.emplace_back(&name, &entry);
  std::sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->file_offset, a.second->bytes) <
           std::pair(b.second->file_offset, b.second->bytes);
  });
  std::uint64_t end = data_start;
  for (const auto& [name, entry] : ordered) {
    if (entry->file_offset < end)
      wrong("tensor \"" + *name + "\": its bytes overlap those of another tensor by " +
            std::to_string(end - entry->file_offset));
    if (entry->file_offset > end)
      wrong("tensor \"" + *name + "\": " + std::to_string(entry->file_offset - end) +
            " bytes before it belong to no tensor");
    end = entry->file_offset + entry->bytes;
  }
  if (end != file_bytes) wrong(std::to_string(file_bytes - end) + " bytes at its end belong to no tensor");
}

void read_metadata(const JsonValue& value, SafetensorsHeader& header) {
  const auto* members = value.as<JsonValue::Object>();
  if (members == nullptr) wrong("\"__metadata__\" is " + value.found() + "; expected an object of strings");
  for (const JsonMember& member : *members) {
    const auto* text = member.value.as<std::string>();
    if (text == nullptr)
      wrong("\"__metadata__\": \"" + member.key.substr(0, 60) + "\" is " + member.value.found() +
            "; expected a string");
    header.metadata.emplace(member.key, *text);
  }
}

std::uint64_t header_length(std::span<const std::uint8_t> head, std::uint64_t file_bytes) {
  if (head.size() < 8 || file_bytes < 8)
    wrong("only " + std::to_string(file_bytes) +
          " bytes; a safetensors file begins with 8 bytes of header length");
  std::uint64_t length = 0;
  for (int i = 7; i >= 0; --i) length = length << 8 | head[static_cast<std::size_t>(i)];
  if (length > kHeaderBytesMax)
    wrong("its header claims " + std::to_string(length) + " bytes; the format allows " +
          std::to_string(kHeaderBytesMax) + ": not a safetensors file?");
  if (length > file_bytes - 8)
    wrong("its header claims " + std::to_string(length) + " bytes; the file has " +
          std::to_string(file_bytes - 8) + " after the length: truncated, or its header lies");
  return length;
}

// An open file for reading; closes it. Opening does not wait: a pipe in the file's place is an error.
class InputFile {
 public:
  explicit InputFile(const std::filesystem::path& file)
      : name_(file.string()), descriptor_(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {
    if (descriptor_ < 0) throw errno_error(ErrorCode::bad_input, name_ + ": cannot open", errno);
  }
  ~InputFile() { ::close(descriptor_); }
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  std::uint64_t bytes() const {
    struct stat status {};
    if (::fstat(descriptor_, &status) != 0)
      throw errno_error(ErrorCode::bad_input, name_ + ": cannot stat", errno);
    if (!S_ISREG(status.st_mode)) throw Error(ErrorCode::bad_input, name_ + ": not a regular file");
    return static_cast<std::uint64_t>(status.st_size);
  }

  // Appends the next `count` bytes; fewer at the file's end.
  void read_into(std::vector<std::uint8_t>& buffer, std::size_t count) {
    const std::size_t start = buffer.size();
    buffer.resize(start + count);
    std::size_t done = 0;
    while (done < count) {
      const ssize_t got = ::read(descriptor_, buffer.data() + start + done, count - done);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw errno_error(ErrorCode::bad_input, name_ + ": cannot read", errno);
      if (got == 0) break;
      done += static_cast<std::size_t>(got);
    }
    buffer.resize(start + done);
  }

 private:
  std::string name_;
  int descriptor_;
};

}  // namespace

std::uint32_t dtype_bytes(DType dtype) { return entry_of(dtype).bytes; }
std::string_view to_string(DType dtype) { return entry_of(dtype).name; }

SafetensorsHeader parse_safetensors_header(std::span<const std::uint8_t> head, std::uint64_t file_bytes,
                                           const std::string& origin) {
  return in_context(origin, [&] {
    const std::uint64_t length = header_length(head, file_bytes);
    if (head.size() - 8 < length) wrong("its header ends early: truncated");
    const std::string_view json(reinterpret_cast<const char*>(head.data()) + 8, length);
    const JsonValue root = in_context("header", [&] { return parse_strict_json(json, kHeaderValuesMax); });
    const auto* members = root.as<JsonValue::Object>();
    if (members == nullptr) wrong("header: found " + root.found() + "; expected an object of tensors");
    SafetensorsHeader header;
    const std::uint64_t data_start = 8 + length;
    for (const JsonMember& member : *members) {
      if (member.key == "__metadata__") {
        read_metadata(member.value, header);
        continue;
      }
      header.tensors.emplace(member.key, in_context("tensor \"" + member.key.substr(0, 200) + "\"", [&] {
                               return entry_from(member.value, data_start, file_bytes - data_start);
                             }));
    }
    check_cover(header, data_start, file_bytes);
    return header;
  });
}

SafetensorsHeader read_safetensors_header(const std::filesystem::path& file) {
  InputFile input(file);
  const std::uint64_t file_bytes = input.bytes();
  std::vector<std::uint8_t> head;
  input.read_into(head, 8);
  const std::uint64_t length = in_context(file.string(), [&] { return header_length(head, file_bytes); });
  input.read_into(head, static_cast<std::size_t>(length));
  return parse_safetensors_header(head, file_bytes, file.string());
}

}  // namespace quench
