#include "worker/calibration/source_files.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "schemas/error.h"
#include "worker/calibration/filters.h"
#include "worker/calibration/json_source.h"
#include "worker/calibration/licences.h"
#include "worker/calibration/stack_exchange.h"
#include "worker/calibration/text_reader.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;

constexpr int kDepthMax = 128;
constexpr std::size_t kLicenceBytesMax = 256 << 10;
constexpr std::size_t kSniffBytes = 8 << 10;
constexpr std::array<std::string_view, 7> kBuildFiles{
    "pyproject.toml", "setup.py", "setup.cfg", "PKG-INFO", "pom.xml", "build.gradle", "build.gradle.kts"};

enum class FileKind { python, java, prose, json_lines, dump, parquet, archive, other };

FileKind kind_of(const std::string& name) {
  const auto ends = [&](std::string_view end) { return name.ends_with(end); };
  if (ends(".py")) return FileKind::python;
  if (ends(".java")) return FileKind::java;
  if (ends(".txt") || ends(".md") || ends(".rst")) return FileKind::prose;
  for (const char* end : {".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"})
    if (ends(end)) return FileKind::json_lines;
  if (ends("Posts.xml") || ends("Posts.xml.gz")) return FileKind::dump;
  if (ends(".parquet")) return FileKind::parquet;
  if (ends(".7z")) return FileKind::archive;
  return FileKind::other;
}

// What the folders above a file say of it.
struct Surroundings {
  std::string label;       // of the folder itself, "corpus/package"
  std::string repository;  // of a marked folder; empty: none yet
  std::string licence = "unknown";
  int depth = 0;
};

class SourceWalk {
 public:
  SourceWalk(const SourceOptions& options, Tally& tally, const DocumentSink& sink)
      : options_(options), tally_(tally), sink_(sink) {}

  void root(const fs::path& given) {
    std::error_code error;
    const fs::file_status status = fs::status(given, error);
    if (!fs::exists(status))
      throw Error(ErrorCode::bad_input, "--from " + given.string() + " does not exist");
    fs::path whole = fs::absolute(given).lexically_normal();
    if (!whole.has_filename()) whole = whole.parent_path();
    const std::string name = whole.filename().string();
    if (fs::is_directory(status)) {
      Surroundings around;
      around.label = name;
      return folder(given, around);
    }
    if (!fs::is_regular_file(status))
      throw Error(ErrorCode::bad_input, "--from " + given.string() + " is neither a file nor a directory");
    const FileKind kind = kind_of(name);
    Surroundings around;
    around.repository = name;
    named_file(given, name, kind == FileKind::other ? FileKind::prose : kind, around);
  }

 private:
  static bool is_passed_over(const std::string& name) {
    return name.starts_with('.') || name == "node_modules" || name == "__pycache__";
  }

  void folder(const fs::path& path, Surroundings around) {
    if (around.depth > kDepthMax)
      throw Error(ErrorCode::bad_input,
                  path.string() + " lies more than " + std::to_string(kDepthMax) + " folders deep");
    std::vector<fs::directory_entry> entries;
    std::error_code error;
    for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error))
      entries.push_back(*it);
    if (error)
      throw Error(ErrorCode::bad_input,
                  "cannot read the directory " + path.string() + ": " + error.message());
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
      return a.path().filename().native() < b.path().filename().native();
    });
    look_around(entries, around);
    for (const fs::directory_entry& entry : entries) {
      const std::string name = entry.path().filename().string();
      const fs::file_status status = entry.symlink_status(error);
      if (error)
        throw Error(ErrorCode::bad_input, "cannot read " + entry.path().string() + ": " + error.message());
      if (fs::is_directory(status)) {
        if (is_passed_over(name)) continue;
        Surroundings below = around;
        ++below.depth;
        below.label += "/" + name;
        folder(entry.path(), std::move(below));
      } else if (fs::is_regular_file(status)) {
        const FileKind kind = kind_of(name);
        if (kind == FileKind::parquet || kind == FileKind::archive) {
          // In a tree they may well be something's test data.
          tally_.read();
          tally_.leave_out(Reason::unread_kind);
          continue;
        }
        named_file(entry.path(), around.label + "/" + name, kind, around);
      }
    }
  }

  // Whether this folder is a repository, and its licence.
  void look_around(const std::vector<fs::directory_entry>& entries, Surroundings& around) {
    bool is_marked = false;
    std::string found;
    for (const fs::directory_entry& entry : entries) {
      const std::string name = entry.path().filename().string();
      const bool is_licence = is_licence_file(name) && entry.is_regular_file() && !entry.is_symlink();
      // A collection of repositories may have a licence of its own.
      is_marked = is_marked || name == ".git" || (is_licence && around.depth > 0) ||
                  std::find(kBuildFiles.begin(), kBuildFiles.end(), name) != kBuildFiles.end();
      std::string text;
      if (is_licence && found.empty() && read_whole(entry.path(), kLicenceBytesMax, text))
        found = licence_of_text(text);
    }
    if (!found.empty()) around.licence = found;
    if (around.repository.empty() && is_marked) around.repository = around.label;
  }

  static std::string repository_of(const std::string& origin, const Surroundings& around) {
    if (!around.repository.empty()) return around.repository;
    // The folder right below the root, or the root for a file that lies in it.
    const std::size_t first = origin.find('/');
    const std::size_t second = first == std::string::npos ? first : origin.find('/', first + 1);
    return origin.substr(0, second == std::string::npos ? first : second);
  }

  void named_file(const fs::path& path, const std::string& origin, FileKind kind,
                  const Surroundings& around) {
    switch (kind) {
      case FileKind::python:
        return text_file(path, origin, DocumentForm::python, around);
      case FileKind::java:
        return text_file(path, origin, DocumentForm::java, around);
      case FileKind::prose:
        return text_file(path, origin, DocumentForm::prose, around);
      case FileKind::json_lines: {
        TextReader reader(path);
        return read_json_documents(reader, origin, options_.score_min, tally_, sink_);
      }
      case FileKind::dump: {
        TextReader reader(path);
        return read_stack_exchange(reader, origin, options_.score_min, tally_, sink_);
      }
      case FileKind::parquet:
        throw Error(
            ErrorCode::bad_input,
            path.string() +
                " is a Parquet file, which is not read: turn it into JSON lines, as with python3 -c \"import "
                "pandas; pandas.read_parquet('IN.parquet').to_json('OUT.jsonl.gz', orient='records', "
                "lines=True)\"");
      case FileKind::archive:
        throw Error(
            ErrorCode::bad_input,
            path.string() + " is a 7z archive, which is not read: unpack it (7z x), and name its Posts.xml");
      case FileKind::other:
        return other_file(path);
    }
  }

  void text_file(const fs::path& path, const std::string& origin, DocumentForm form,
                 const Surroundings& around) {
    tally_.read();
    Document document;
    document.form = form;
    const bool is_code = form == DocumentForm::python || form == DocumentForm::java;
    if (!read_whole(path, is_code ? kCodeBytesMax : kProseBytesMax, document.text))
      return tally_.leave_out(Reason::too_large);
    if (const auto fault = fault_of(document)) return tally_.leave_out(*fault);
    document.origin = origin;
    document.licence = around.licence;
    if (is_code) {
      document.repository = repository_of(origin, around);
      if (std::string own = licence_of_source(document.text); !own.empty()) document.licence = std::move(own);
    }
    sink_(std::move(document));
  }

  void other_file(const fs::path& path) {
    tally_.read();
    TextReader reader(path);
    std::string head(kSniffBytes, ' ');
    head.resize(reader.read(head));
    tally_.leave_out(head.find('\0') != std::string::npos ? Reason::binary : Reason::other_kind);
  }

  const SourceOptions& options_;
  Tally& tally_;
  const DocumentSink& sink_;
};

}  // namespace

void read_sources(const SourceOptions& options, Tally& tally, const DocumentSink& sink) {
  SourceWalk walk(options, tally, sink);
  for (const fs::path& from : options.from) walk.root(from);
}

}  // namespace quench::worker
