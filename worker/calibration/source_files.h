// What is under `--from`, as documents: text files, source trees, JSON lines, StackExchange dumps. Everything
// is read in the order of its path, so that a corpus gives the same documents wherever it lies. Reads hostile
// files; follows no symbolic link. One thread at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "worker/calibration/document.h"

namespace quench::worker {

struct SourceOptions {
  std::vector<std::filesystem::path> from;
  std::int64_t score_min = 10;  // of questions
};

// Hands every document that passes the filters of its form (filters.h) to `sink`, and counts the others.
//
//   *.py *.java             code; its repository is the nearest folder above it that is one (see below)
//   *.txt *.md *.rst        prose, one document a file; so is a file of any other name that `from` names
//   itself
//   *.jsonl *.ndjson        JSON lines (json_source.h), also packed: *.jsonl.gz, *.ndjson.gz
//   *Posts.xml              a StackExchange dump (stack_exchange.h), also *Posts.xml.gz
//   *.parquet, *.7z         not read: Error(bad_input) that says how to turn one into the others when `from` names it
//                           itself, counted in a tree
//   other files in a tree   counted as binary or as of another kind; hidden folders, node_modules and
//                           __pycache__ are passed over
//
// A repository is the topmost folder with .git, a licence file, or a build file (pyproject.toml, setup.py,
// pom.xml, build.gradle, …); without one, the folder right below `from`. The licence of a file is its own
// SPDX line's, else that of the nearest licence file above it.
//
// Throws Error(bad_input) naming what cannot be read, and for a name that is not there.
void read_sources(const SourceOptions& options, Tally& tally, const DocumentSink& sink);

}  // namespace quench::worker
