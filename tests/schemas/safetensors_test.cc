#include "schemas/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "schemas/error.h"

namespace quench {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

const fs::path kFixtures = fs::path(QUENCH_SOURCE_DIR) / "tests/schemas/fixtures";
const fs::path kOddLlama = fs::path(QUENCH_SOURCE_DIR) / "tests/fixtures/odd_llama";

// A directory of this test's own, gone when it ends.
class SafetensorsFiles : public testing::Test {
 protected:
  SafetensorsFiles() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    dir_ = fs::path(testing::TempDir()) / (std::string(test->name()) + "-" + std::to_string(::getpid()));
    fs::create_directories(dir_);
  }
  ~SafetensorsFiles() override { fs::remove_all(dir_); }

  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(dir_ / name, std::ios::binary) << bytes;
  }
  std::string error_of_locating() const {
    try {
      locate_tensors(dir_);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_input);
      return error.what();
    }
    return "(accepted)";
  }

  fs::path dir_;
};

std::string file_with(const std::string& header, std::size_t data_bytes) {
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> (8 * i));
  return file + header + std::string(data_bytes, 'x');
}

std::string error_of(const std::string& file, std::uint64_t file_bytes) {
  try {
    parse_safetensors_header({reinterpret_cast<const std::uint8_t*>(file.data()), file.size()}, file_bytes,
                             "w.safetensors");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    return error.what();
  }
  return "(accepted)";
}

TEST(SafetensorsHeader, ReadsWhatPythonWrote) {
  const SafetensorsHeader header = read_safetensors_header(kFixtures / "python_written.safetensors");
  EXPECT_EQ(header.tensors.size(), 12u);
  EXPECT_EQ(header.metadata, (std::map<std::string, std::string>{{"format", "pt"}}));
  const std::vector<std::pair<std::string, DType>> types = {
      {"f32", DType::f32}, {"f16", DType::f16},        {"bf16", DType::bf16}, {"f64", DType::f64},
      {"i8", DType::i8},   {"u8", DType::u8},          {"i16", DType::i16},   {"i32", DType::i32},
      {"i64", DType::i64}, {"boolean", DType::boolean}};
  for (const auto& [name, dtype] : types) {
    const TensorEntry& entry = header.tensors.at(name);
    EXPECT_EQ(entry.dtype, dtype) << name;
    EXPECT_THAT(entry.shape, ElementsAre(2, 3)) << name;
    EXPECT_EQ(entry.bytes, 6 * dtype_bytes(dtype)) << name;
  }
  EXPECT_THAT(header.tensors.at("scalar").shape, ElementsAre());
  EXPECT_EQ(header.tensors.at("scalar").bytes, 4u);
  EXPECT_EQ(header.tensors.at("empty").bytes, 0u);

  // The offsets are absolute: the bytes there are 0, 1, … 5.
  std::ifstream in(kFixtures / "python_written.safetensors", std::ios::binary);
  in.seekg(static_cast<std::streamoff>(header.tensors.at("i32").file_offset));
  std::int32_t values[6];
  in.read(reinterpret_cast<char*>(values), sizeof values);
  EXPECT_THAT(values, ElementsAre(0, 1, 2, 3, 4, 5));
}

struct BadHeader {
  const char* name;
  std::string header;
  std::size_t data_bytes;
  std::vector<std::string> parts;
  friend void PrintTo(const BadHeader& bad, std::ostream* out) { *out << bad.name; }
};

class BadSafetensorsHeader : public testing::TestWithParam<BadHeader> {};

TEST_P(BadSafetensorsHeader, IsRefusedByRule) {
  const std::string file = file_with(GetParam().header, GetParam().data_bytes);
  const std::string text = error_of(file, file.size());
  EXPECT_THAT(text, testing::StartsWith("w.safetensors: "));
  for (const std::string& part : GetParam().parts) EXPECT_THAT(text, HasSubstr(part));
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets +
         "}";
}

const std::vector<BadHeader> kBadHeaders = {
    {"NotJson", "{\"a\":", 0, {"header: line 1"}},
    {"List", "[]", 0, {"header: found a list"}},
    {"TensorIsNoObject", "{\"a\":3}", 0, {"tensor \"a\": found 3; expected an object"}},
    {"DuplicateTensor",
     "{" + tensor("a", "U8", "[2]", "[0,2]") + "," + tensor("a", "U8", "[2]", "[2,4]") + "}",
     4,
     {"/a", "given twice"}},
    {"DuplicateKey",
     R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
     1,
     {"/a/dtype", "given twice"}},
    {"UnknownKey",
     R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"extra":1}})",
     1,
     {"tensor \"a\"", "unknown key \"extra\""}},
    {"UnknownType",
     "{" + tensor("a", "F8_E4M3", "[1]", "[0,1]") + "}",
     1,
     {"tensor \"a\"", "\"dtype\" is \"F8_E4M3\"; known: F32"}},
    {"NoType", R"({"a":{"shape":[1],"data_offsets":[0,1]}})", 1, {"\"dtype\" is missing"}},
    {"NoShape", R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", 1, {"\"shape\" is missing"}},
    {"NoOffsets", R"({"a":{"dtype":"U8","shape":[1]}})", 1, {"\"data_offsets\" is missing"}},
    {"NegativeExtent", "{" + tensor("a", "U8", "[-1]", "[0,1]") + "}", 1, {"\"shape\" holds -1"}},
    {"FractionalExtent", "{" + tensor("a", "U8", "[1.0]", "[0,1]") + "}", 1, {"\"shape\" holds 1.0"}},
    {"TooManyDimensions",
     "{" + tensor("a", "U8", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,1]") + "}",
     1,
     {"at most 16"}},
    {"OverflowingShape",
     "{" + tensor("a", "F32", "[4294967296,4294967296]", "[0,0]") + "}",
     0,
     {"more elements than 64 bits"}},
    {"OneOffset", "{" + tensor("a", "U8", "[1]", "[0]") + "}", 1, {"has 1 numbers; expected 2"}},
    {"ReversedOffsets", "{" + tensor("a", "U8", "[1]", "[1,0]") + "}", 1, {"[1, 0] end before they begin"}},
    {"BeyondTheFile",
     "{" + tensor("a", "U8", "[9]", "[0,9]") + "}",
     8,
     {"tensor \"a\"", "[0, 9] reach beyond the 8 bytes", "truncated"}},
    {"WrongLength",
     "{" + tensor("a", "F32", "[3]", "[0,8]") + "}",
     8,
     {"span 8 bytes; its shape and F32 take 12"}},
    {"Overlap",
     "{" + tensor("a", "U8", "[4]", "[0,4]") + "," + tensor("b", "U8", "[4]", "[2,6]") + "}",
     6,
     {"tensor \"b\"", "overlap", "by 2"}},
    {"Hole",
     "{" + tensor("a", "U8", "[2]", "[0,2]") + "," + tensor("b", "U8", "[2]", "[4,6]") + "}",
     6,
     {"tensor \"b\": 2 bytes before it belong to no tensor"}},
    {"HoleAtTheStart", "{" + tensor("a", "U8", "[2]", "[2,4]") + "}", 4, {"2 bytes before it"}},
    {"TrailingBytes",
     "{" + tensor("a", "U8", "[2]", "[0,2]") + "}",
     5,
     {"3 bytes at its end belong to no tensor"}},
    {"MetadataNumber", R"({"__metadata__":{"a":1}})", 0, {"\"__metadata__\": \"a\" is 1; expected a string"}},
};

INSTANTIATE_TEST_SUITE_P(, BadSafetensorsHeader, testing::ValuesIn(kBadHeaders),
                         [](const auto& instance) { return instance.param.name; });

TEST(SafetensorsHeader, LyingLengthsAreRefusedBeforeAnythingIsRead) {
  EXPECT_THAT(error_of("", 0), HasSubstr("only 0 bytes"));
  EXPECT_THAT(error_of("1234567", 7), HasSubstr("only 7 bytes"));
  const std::string file = file_with("{}", 0);
  EXPECT_THAT(error_of(file, 9), HasSubstr("claims 2 bytes; the file has 1 after the length: truncated"));
  EXPECT_THAT(error_of(std::string(8, '\xff'), 1000), HasSubstr("the format allows 100000000"));
  EXPECT_THAT(error_of(file.substr(0, 9), 10), HasSubstr("ends early"));
}

// 100 MB of brackets would become gigabytes as a tree.
TEST(SafetensorsHeader, MemoryBombIsStoppedByCount) {
  std::string header = "{\"a\":[0";
  for (int i = 0; i < 1'000'000; ++i) header += ",0";
  const std::string file = file_with(header + "]}", 0);
  EXPECT_THAT(error_of(file, file.size()), HasSubstr("too many values"));
}

TEST(LocateTensors, FindsEveryTensorOfAShardedModel) {
  const auto locations = locate_tensors(kOddLlama);
  EXPECT_EQ(locations.size(), 3u + 3 * 9);
  const TensorLocation& head = locations.at("lm_head.weight");
  EXPECT_THAT(head.entry.shape, ElementsAre(515, 204));
  EXPECT_EQ(head.entry.dtype, DType::bf16);
  EXPECT_EQ(head.file.parent_path(), kOddLlama);
}

TEST_F(SafetensorsFiles, DirectoryWithoutWeights) {
  EXPECT_THAT(error_of_locating(), HasSubstr(dir_.string() + ": holds neither model.safetensors nor"));
}

TEST_F(SafetensorsFiles, IndexNamingAMissingShard) {
  write("model.safetensors.index.json", R"({"weight_map": {"a": "model-00001-of-00002.safetensors"}})");
  EXPECT_THAT(error_of_locating(),
              HasSubstr("index.json: names the shard model-00001-of-00002.safetensors, which is not in"));
}

TEST_F(SafetensorsFiles, IndexNamingATensorThatTheShardLacks) {
  write("s.safetensors", file_with("{" + tensor("b", "U8", "[2]", "[0,2]") + "}", 2));
  write("model.safetensors.index.json", R"({"weight_map": {"a": "s.safetensors"}})");
  EXPECT_THAT(error_of_locating(),
              HasSubstr("says that tensor \"a\" lies in s.safetensors, which does not hold it"));
}

TEST_F(SafetensorsFiles, ShardHoldingATensorThatTheIndexLacks) {
  write(
      "s.safetensors",
      file_with("{" + tensor("a", "U8", "[2]", "[0,2]") + "," + tensor("b", "U8", "[2]", "[2,4]") + "}", 4));
  write("model.safetensors.index.json", R"({"weight_map": {"a": "s.safetensors"}})");
  EXPECT_THAT(error_of_locating(), HasSubstr("does not name tensor \"b\""));
}

TEST_F(SafetensorsFiles, IndexWithPathTraversal) {
  for (const char* shard : {"../secret.safetensors", "/etc/passwd", "a/b.safetensors", "..", ""}) {
    write("model.safetensors.index.json", R"({"weight_map": {"a": ")" + std::string(shard) + "\"}}");
    EXPECT_THAT(error_of_locating(), HasSubstr("expected the name of a file in the same directory")) << shard;
  }
}

TEST_F(SafetensorsFiles, IndexThatIsNone) {
  write("model.safetensors.index.json", R"({"weights": {}})");
  EXPECT_THAT(error_of_locating(), HasSubstr("no object \"weight_map\""));
  write("model.safetensors.index.json", R"({"weight_map": {"a": "s", "a": "s"}})");
  EXPECT_THAT(error_of_locating(), HasSubstr("/weight_map/a"));
}

TEST_F(SafetensorsFiles, TruncatedShardIsNamed) {
  write("model.safetensors", file_with("{" + tensor("a", "U8", "[20]", "[0,20]") + "}", 19));
  EXPECT_THAT(error_of_locating(), HasSubstr("model.safetensors: tensor \"a\": "));
  EXPECT_THAT(error_of_locating(), HasSubstr("beyond the 19 bytes"));
}

// Opening a pipe for reading would wait for a writer for ever.
TEST_F(SafetensorsFiles, PipeInPlaceOfTheWeights) {
  ASSERT_EQ(::mkfifo((dir_ / "model.safetensors").c_str(), 0600), 0);
  EXPECT_THAT(error_of_locating(), HasSubstr("model.safetensors: not a regular file"));
}

TEST_F(SafetensorsFiles, WrittenFileIsReadBack) {
  const fs::path file = dir_ / "out.safetensors";
  const std::vector<std::uint8_t> data = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13};
  {
    SafetensorsWriter writer(file, {{"z \"quoted\"", DType::f32, {3}}, {"a", DType::u8, {1, 1}}},
                             {{"k", "v"}});
    writer.append(std::span(data).first(5));
    EXPECT_FALSE(fs::exists(file)) << "visible before it is whole";
    writer.append(std::span(data).subspan(5));
    writer.finish();
  }
  const SafetensorsHeader header = read_safetensors_header(file);
  EXPECT_EQ(header.metadata.at("k"), "v");
  EXPECT_EQ(header.tensors.at("z \"quoted\"").bytes, 12u);
  EXPECT_EQ(header.tensors.at("z \"quoted\"").file_offset % 8, 0u);
  EXPECT_EQ(header.tensors.at("a").file_offset, header.tensors.at("z \"quoted\"").file_offset + 12);
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_), fs::directory_iterator()), 1);
}

TEST_F(SafetensorsFiles, UnfinishedFileLeavesNothing) {
  {
    SafetensorsWriter writer(dir_ / "out.safetensors", {{"a", DType::u8, {100}}}, {});
    writer.append(std::vector<std::uint8_t>(10));
  }
  EXPECT_TRUE(fs::is_empty(dir_));
}

TEST_F(SafetensorsFiles, DirectoryThatIsNotThere) {
  try {
    SafetensorsWriter writer(dir_ / "absent/out.safetensors", {}, {});
    FAIL() << "wrote into a directory that does not exist";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::failed);
    EXPECT_THAT(error.what(), HasSubstr("No such file"));
  }
}

TEST(SafetensorsWriter, FullDiskIsAnError) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  const fs::path dir = fs::path(testing::TempDir()) / ("full-" + std::to_string(::getpid()));
  fs::create_directories(dir);
  fs::create_symlink("/dev/full", dir / ("out.partial-" + std::to_string(::getpid())));
  try {
    SafetensorsWriter writer(dir / "out", {}, {});
    ADD_FAILURE() << "wrote to a full disk";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::failed);
    EXPECT_THAT(error.what(), HasSubstr("No space left"));
  }
  fs::remove_all(dir);
}

}  // namespace
}  // namespace quench
