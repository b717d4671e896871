// What of the sandbox works on this host: for `quench doctor` and for the error of a job that cannot
// evaluate here.
#pragma once

#include <filesystem>
#include <string>

namespace quench::worker {

struct SandboxProbe {
  std::string bwrap;            // "bubblewrap 0.8.0 (/usr/bin/bwrap)"; empty: not found
  std::string python;           // "Python 3.11.2 (/usr/bin/python3)"; empty: not found
  bool user_namespaces = false; // an empty namespace could be made
  bool runs = false;            // a program ran in the whole sandbox, and its verdict was right
  std::string problem;          // what is missing; empty when it runs
  std::string remedy;
};

// Runs bwrap, python3 and one small program (about 0.2 s). Never throws for what it probes.
// An empty `bwrap` is looked for on PATH.
SandboxProbe sandbox_probe(const std::filesystem::path& bwrap = {},
                           const std::filesystem::path& python = "/usr/bin/python3");

}  // namespace quench::worker
