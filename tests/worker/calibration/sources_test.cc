#include <gtest/gtest.h>
#include <zlib.h>

#include <map>

#include "schemas/error.h"
#include "tests/worker/calibration/corpus.h"
#include "worker/calibration/source_files.h"
#include "worker/calibration/text_reader.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;
using testing::ScratchDirectory;
using testing::WordSource;
using testing::write_text;

struct Read {
  std::vector<Document> documents;
  Tally tally;
  const Document& at(const std::string& origin) const {
    for (const Document& document : documents)
      if (document.origin == origin) return document;
    static const Document kNone;
    ADD_FAILURE() << "no document from " << origin;
    return kNone;
  }
};

Read read(std::vector<fs::path> from) {
  Read read;
  read_sources({std::move(from), 10}, read.tally,
               [&](Document document) { read.documents.push_back(std::move(document)); });
  return read;
}

std::string error_of(const fs::path& from) {
  try {
    read({from});
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_input);
    return error.what();
  }
  ADD_FAILURE() << "it was read";
  return {};
}

void write_gzip(const fs::path& file, const std::string& text) {
  gzFile out = ::gzopen(file.c_str(), "wb");
  ASSERT_EQ(::gzwrite(out, text.data(), static_cast<unsigned>(text.size())), static_cast<int>(text.size()));
  ASSERT_EQ(::gzclose(out), Z_OK);
}

TEST(CalibrationSources, ReadATreeInTheOrderOfItsPaths) {
  const ScratchDirectory scratch;
  const fs::path root = scratch / "corpus";
  testing::write_repositories(root, 2, 1);
  write_text(root / "notes.md", WordSource(1).prose(30));
  fs::create_directories(root / "repo0" / ".git");
  write_text(root / "repo0" / ".git" / "hook.py", WordSource(2).python(3));
  fs::create_directories(root / "repo0" / "__pycache__");
  write_text(root / "repo0" / "__pycache__" / "cached.py", WordSource(3).python(3));
  write_text(root / "repo1" / "logo.png", std::string("\x89PNG\0\0\0", 7));
  write_text(root / "repo1" / "broken.py", std::string("import os\0\0", 11));
  write_text(root / "repo1" / "style.css", "body { color: red }");
  fs::create_symlink(root / "repo1", root / "again");
  const Read tree = read({root});
  std::vector<std::string> origins;
  for (const Document& document : tree.documents) origins.push_back(document.origin);
  EXPECT_EQ(origins, (std::vector<std::string>{"corpus/notes.md", "corpus/repo0/src/Main.java",
                                               "corpus/repo0/src/main.py", "corpus/repo1/src/Main.java",
                                               "corpus/repo1/src/main.py"}));
  EXPECT_EQ(tree.tally.count(Reason::binary), 2u) << "a picture, and what is only called Python";
  EXPECT_EQ(tree.tally.count(Reason::other_kind), 3u) << "two licences and a style sheet";
  EXPECT_EQ(tree.at("corpus/repo0/src/main.py").form, DocumentForm::python);
  EXPECT_EQ(tree.at("corpus/repo0/src/main.py").repository, "corpus/repo0");
  EXPECT_EQ(tree.at("corpus/repo0/src/main.py").licence, "MIT");
  EXPECT_EQ(tree.at("corpus/repo1/src/Main.java").form, DocumentForm::java);
  EXPECT_EQ(tree.at("corpus/notes.md").licence, "unknown");
}

// hosts/owner/name: the marked folder is the repository, and not the one below the root.
TEST(CalibrationSources, FindRepositoriesByTheirMarks) {
  const ScratchDirectory scratch;
  const fs::path root = scratch / "all";
  for (const char* path :
       {"host/owner/one/.git", "host/owner/one/module", "host/owner/two/src", "loose/deep/er"})
    fs::create_directories(root / path);
  write_text(root / "host/owner/one/a.py", WordSource(1).python(3));
  write_text(root / "host/owner/one/module/pom.xml", "<project/>");
  write_text(root / "host/owner/one/module/B.java",
             "// SPDX-License-Identifier: EPL-2.0\n" + WordSource(2).java(3));
  write_text(root / "host/owner/two/pyproject.toml", "[project]\n");
  write_text(root / "host/owner/two/src/c.py", WordSource(3).python(3));
  write_text(root / "loose/deep/er/d.py", WordSource(4).python(3));
  write_text(root / "e.py", WordSource(5).python(3));
  const Read tree = read({root});
  EXPECT_EQ(tree.at("all/host/owner/one/a.py").repository, "all/host/owner/one");
  EXPECT_EQ(tree.at("all/host/owner/one/module/B.java").repository, "all/host/owner/one")
      << "the topmost mark counts";
  EXPECT_EQ(tree.at("all/host/owner/one/module/B.java").licence, "EPL-2.0");
  EXPECT_EQ(tree.at("all/host/owner/two/src/c.py").repository, "all/host/owner/two");
  EXPECT_EQ(tree.at("all/loose/deep/er/d.py").repository, "all/loose");
  EXPECT_EQ(tree.at("all/e.py").repository, "all");
}

TEST(CalibrationSources, ReadJsonLinesAsCorporaHaveThem) {
  const ScratchDirectory scratch;
  const std::string python = WordSource(1).python(2), java = WordSource(2).java(2),
                    prose = WordSource(3).prose(30);
  const auto quoted = [](std::string text) {
    std::string out;
    for (const char c : text) out += c == '\n' ? std::string("\\n") : std::string(1, c);
    return "\"" + out + "\"";
  };
  const std::string lines =
      R"({"content": )" + quoted(python) +
      R"(, "lang": "Python", "max_stars_repo_name": "a/b", "max_stars_repo_licenses": ["MIT", "ISC"]})"
      "\n\n" +
      R"({"code": )" + quoted(java) +
      R"(, "path": "src/A.java", "repo_name": "c/d", "license": "apache-2.0"})"
      "\r\n" +
      R"({"text": )" + quoted(prose) +
      R"(, "meta": {"url": "https://example.org/page"}})"
      "\n" +
      R"({"content": "fn main() {}", "lang": "Rust"})"
      "\n" +
      R"({"title": "What?", "body": "<p>How can I do this with the list that I have?</p>", "tags": ["python"], "score": 11, "content_license": "CC BY-SA 4.0"})"
      "\n" +
      R"({"text": "   "})";
  write_gzip(scratch / "data.jsonl.gz", lines);
  write_text(scratch / "data.jsonl", lines);
  for (const char* name : {"data.jsonl", "data.jsonl.gz"}) {
    const Read file = read({scratch / name});
    const std::string origin(name);
    ASSERT_EQ(file.documents.size(), 4u) << file.tally.to_string();
    EXPECT_EQ(file.documents[0].form, DocumentForm::python);
    EXPECT_EQ(file.documents[0].text, python);
    EXPECT_EQ(file.documents[0].repository, "a/b");
    EXPECT_EQ(file.documents[0].licence, "MIT OR ISC");
    EXPECT_EQ(file.documents[0].origin, origin + ":1");
    EXPECT_EQ(file.documents[1].form, DocumentForm::java);
    EXPECT_EQ(file.documents[1].origin, origin + ":3 src/A.java");
    EXPECT_EQ(file.documents[1].licence, "apache-2.0");
    EXPECT_EQ(file.documents[2].form, DocumentForm::prose);
    EXPECT_EQ(file.documents[2].origin, origin + ":4 https://example.org/page");
    EXPECT_EQ(file.documents[3].form, DocumentForm::question);
    EXPECT_EQ(file.documents[3].licence, "CC BY-SA 4.0");
    EXPECT_EQ(file.tally.documents_read(), 6u);
    EXPECT_EQ(file.tally.count(Reason::other_kind), 1u);
    EXPECT_EQ(file.tally.count(Reason::empty), 1u);
  }
}

TEST(CalibrationSources, TellWhatCannotBeRead) {
  const ScratchDirectory scratch;
  EXPECT_NE(error_of(scratch / "nothing").find("does not exist"), std::string::npos);
  write_text(scratch / "bad.jsonl", "{\"text\": \"a\"}\n{\"text\": \n");
  EXPECT_NE(error_of(scratch / "bad.jsonl").find("bad.jsonl: line 2: not JSON"), std::string::npos);
  write_text(scratch / "no_text.jsonl", "{\"words\": \"a\"}\n");
  EXPECT_NE(
      error_of(scratch / "no_text.jsonl").find("line 1: no text: expected a string in one of the fields"),
      std::string::npos);
  write_text(scratch / "data.parquet", "PAR1");
  EXPECT_NE(
      error_of(scratch / "data.parquet").find("Parquet file, which is not read: turn it into JSON lines"),
      std::string::npos);
  EXPECT_NE(error_of(scratch.path()).find("not JSON"), std::string::npos) << "in a tree just as well";
  fs::create_directories(scratch / "shards");
  write_text(scratch / "shards" / "part-0.parquet", "PAR1");
  EXPECT_EQ(read({scratch / "shards"}).tally.count(Reason::unread_kind), 1u) << "in a tree it is only counted";
  write_text(scratch / "site.7z", "7z");
  EXPECT_NE(error_of(scratch / "site.7z").find("unpack it"), std::string::npos);
  write_gzip(scratch / "whole.jsonl.gz", "{\"text\": \"" + WordSource(1).word() + "\"}\n");
  std::string bytes = testing::read_text(scratch / "whole.jsonl.gz");
  write_text(scratch / "cut.jsonl.gz", bytes.substr(0, bytes.size() - 9));
  EXPECT_NE(error_of(scratch / "cut.jsonl.gz").find("damaged or cut gzip file"), std::string::npos);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 0x55);
  write_text(scratch / "damaged.jsonl.gz", bytes);
  EXPECT_NE(error_of(scratch / "damaged.jsonl.gz").find("damaged"), std::string::npos);
}

TEST(CalibrationSources, AFileThatIsNamedIsTextWhateverItsName) {
  const ScratchDirectory scratch;
  write_text(scratch / "README", WordSource(1).prose(20));
  EXPECT_EQ(read({scratch / "README"}).documents.size(), 1u);
  write_text(scratch / "a.out", std::string("\x7f"
                                            "ELF\0\0",
                                            6));
  const Read binary = read({scratch / "a.out"});
  EXPECT_TRUE(binary.documents.empty());
  EXPECT_EQ(binary.tally.count(Reason::binary), 1u);
}

TEST(TextReader, GivesLinesAcrossItsBlocks) {
  const ScratchDirectory scratch;
  std::string text;
  for (int i = 0; i < 3000; ++i)
    text += std::string(static_cast<std::size_t>(i) % 500, 'x') + std::to_string(i) +
            (i % 2 == 0 ? "\n" : "\r\n");
  write_text(scratch / "lines", text + "last");
  TextReader reader(scratch / "lines");
  std::string line;
  for (int i = 0; i < 3000; ++i) {
    ASSERT_TRUE(reader.next_line(line));
    ASSERT_EQ(line, std::string(static_cast<std::size_t>(i) % 500, 'x') + std::to_string(i));
  }
  ASSERT_TRUE(reader.next_line(line));
  EXPECT_EQ(line, "last");
  EXPECT_EQ(reader.line_number(), 3001u);
  EXPECT_FALSE(reader.next_line(line));
}

}  // namespace
}  // namespace quench::worker
