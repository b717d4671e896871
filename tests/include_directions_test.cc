// The dependencies of ARCHITECTURE.md, read from the tree: which room includes which, and which foreign
// headers stay behind their fences. A new include that breaks a rule is named with its file and line.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

const fs::path kRoot = QUENCH_SOURCE_DIR;
const std::vector<std::string> kRooms = {"schemas", "kernels", "cluster", "worker", "coordinator", "tests"};

// What each room may include besides itself. tests may include all.
const std::map<std::string, std::set<std::string>> kMayInclude = {
    {"schemas", {}},
    {"kernels", {}},
    {"cluster", {"schemas"}},
    {"worker", {"kernels", "cluster", "schemas"}},
    {"coordinator", {"cluster", "schemas"}},
};

// Folders that one of those rooms may not include although it may include the room.
const std::vector<std::pair<std::string, std::string>> kForbiddenFolders = {
    {"worker", "cluster/launch/"},
    {"coordinator", "cluster/collective/"},
};

struct Include {
  std::string header;  // between the quotes or angle brackets
  int line = 0;
};

struct Source {
  std::string path;  // from the root, with /
  std::string room;
  int lines = 0;
  std::vector<Include> includes;

  bool has_extension(std::initializer_list<std::string_view> extensions) const {
    const std::string extension = fs::path(path).extension().string();
    return std::find(extensions.begin(), extensions.end(), extension) != extensions.end();
  }
  bool is_header() const { return has_extension({".h", ".hpp", ".cuh", ".inc", ".inl"}); }
};

// `#include "x"` and `# include <x>`; nothing when the line is no include.
std::string header_of(const std::string& line) {
  std::size_t at = line.find_first_not_of(" \t");
  if (at == std::string::npos || line[at] != '#') return {};
  at = line.find_first_not_of(" \t", at + 1);
  if (at == std::string::npos || line.compare(at, 7, "include") != 0) return {};
  const std::size_t open = line.find_first_of("\"<", at + 7);
  if (open == std::string::npos) return {};
  const std::size_t close = line.find(line[open] == '<' ? '>' : '"', open + 1);
  return close == std::string::npos ? std::string() : line.substr(open + 1, close - open - 1);
}

Source read_source(const fs::path& file, const std::string& room) {
  Source source{file.lexically_relative(kRoot).generic_string(), room, 0, {}};
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    ++source.lines;
    if (std::string header = header_of(line); !header.empty())
      source.includes.push_back({header, source.lines});
  }
  return source;
}

const std::vector<Source>& sources() {
  static const std::vector<Source> all = [] {
    std::vector<Source> found;
    for (const std::string& room : kRooms) {
      for (const auto& entry : fs::recursive_directory_iterator(kRoot / room)) {
        Source candidate{entry.path().string(), room, 0, {}};
        if (entry.is_regular_file() &&
            (candidate.is_header() || candidate.has_extension({".cc", ".cpp", ".cu", ".c"})))
          found.push_back(read_source(entry.path(), room));
      }
    }
    return found;
  }();
  return all;
}

std::string at(const Source& source, const Include& include) {
  return source.path + ":" + std::to_string(include.line) + " includes " + include.header;
}

TEST(IncludeDirections, ReaderSeesTheTree) {
  std::map<std::string, int> includes;
  for (const Source& source : sources()) includes[source.room] += static_cast<int>(source.includes.size());
  for (const std::string& room : kRooms) EXPECT_GT(includes[room], 10) << room << " was not read";
  EXPECT_EQ(header_of("#include \"schemas/error.h\"  // why"), "schemas/error.h");
  EXPECT_EQ(header_of("  #  include <mpi.h>"), "mpi.h");
  EXPECT_EQ(header_of("// #include <mpi.h>"), "");
}

TEST(IncludeDirections, RoomsIncludeOnlyWhatTheyMay) {
  for (const Source& source : sources()) {
    if (source.room == "tests") continue;
    for (const Include& include : source.includes) {
      const std::string target = include.header.substr(0, include.header.find('/'));
      if (target == source.room || std::find(kRooms.begin(), kRooms.end(), target) == kRooms.end()) continue;
      EXPECT_TRUE(kMayInclude.at(source.room).contains(target))
          << at(source, include) << ", but " << source.room << " may not include " << target;
    }
  }
}

TEST(IncludeDirections, TwinsStayApart) {
  for (const Source& source : sources())
    for (const auto& [room, folder] : kForbiddenFolders)
      for (const Include& include : source.includes)
        EXPECT_FALSE(source.room == room && include.header.starts_with(folder)) << at(source, include);
}

// Relative includes would hide a direction from this test.
TEST(IncludeDirections, PathsStartAtTheRoot) {
  for (const Source& source : sources())
    for (const Include& include : source.includes)
      EXPECT_FALSE(include.header.starts_with("../") || include.header.starts_with("./"))
          << at(source, include);
}

struct Fence {
  const char* name;
  std::vector<std::string> exact;
  std::vector<std::string> prefixes;
  std::vector<std::string> suffixes;
  bool cuda_files_too = false;  // .cu files are not counted

  friend void PrintTo(const Fence& fence, std::ostream* out) { *out << fence.name; }

  bool holds(const std::string& header) const {
    const auto starts = [&](const std::string& prefix) { return header.starts_with(prefix); };
    const auto ends = [&](const std::string& suffix) { return header.ends_with(suffix); };
    return std::find(exact.begin(), exact.end(), header) != exact.end() ||
           std::any_of(prefixes.begin(), prefixes.end(), starts) ||
           std::any_of(suffixes.begin(), suffixes.end(), ends);
  }
};

class Fences : public testing::TestWithParam<Fence> {};

// The product and the tests are counted apart: each has at most three such files, and no header has.
TEST_P(Fences, ForeignHeadersStayInThreeFiles) {
  const Fence& fence = GetParam();
  std::set<std::string> product, tests;
  for (const Source& source : sources()) {
    for (const Include& include : source.includes) {
      if (!fence.holds(include.header)) continue;
      if (fence.cuda_files_too && source.has_extension({".cu"})) continue;
      EXPECT_FALSE(source.is_header()) << at(source, include) << ": a header, so it spreads";
      (source.room == "tests" ? tests : product).insert(source.path);
    }
  }
  EXPECT_LE(product.size(), 3u) << testing::PrintToString(product);
  EXPECT_LE(tests.size(), 3u) << testing::PrintToString(tests);
}

const std::vector<Fence> kFences = {
    {"Mpi", {"mpi.h"}, {}, {}},
    {"Nccl", {"nccl.h"}, {}, {}},
    {"RocksDb", {}, {"rocksdb/"}, {}},
    {"CapnProto", {}, {"capnp/", "kj/"}, {".capnp.h"}},
    {"Cuda", {"cuda.h", "cuda_runtime.h", "cuda_runtime_api.h", "cublas_v2.h"}, {}, {}, true},
    {"Seccomp", {"seccomp.h", "linux/seccomp.h"}, {}, {}},
    {"TreeSitter", {}, {"tree_sitter/"}, {}},
    {"Expat", {"expat.h"}, {}, {}},
    {"Beast", {"boost/beast.hpp"}, {"boost/beast/"}, {}},
};

INSTANTIATE_TEST_SUITE_P(, Fences, testing::ValuesIn(kFences),
                         [](const auto& instance) { return instance.param.name; });

TEST(Tree, NoFileIsCalledUtilsOrManager) {
  for (const Source& source : sources()) {
    const std::string stem = fs::path(source.path).stem().string();
    for (const char* word : {"utils", "util", "helpers", "misc", "manager"})
      EXPECT_FALSE(stem == word || stem.ends_with(std::string("_") + word)) << source.path << " says nothing";
  }
}

TEST(Tree, NoSourceIsLongerThan800Lines) {
  for (const Source& source : sources())
    EXPECT_LE(source.lines, 800) << source.path << " is too long to read";
}

}  // namespace
