// What of the sandbox works on this host: for `quench doctor`, and to know before a long job that its
// evaluation will run here.
#pragma once

#include <filesystem>
#include <string>

#include "worker/evaluate/sandbox/bubblewrap.h"

namespace quench::worker {

// What sandboxes here are made of: namespaces, or Landlock where the host forbids those and `weakest` allows it.
// Throws Error(bad_input) naming what is missing and the remedy.
SandboxHost usable_sandbox_host(const std::filesystem::path& bwrap, const std::filesystem::path& python,
                                const SandboxLimits& limits, Confinement weakest);

// For people: "namespaces, control groups in /sys/fs/cgroup/…", "namespaces, no control groups: …", "landlock".
std::string in_words(const SandboxHost& host);

struct SandboxProbe {
  std::string bwrap;  // the program found; empty when there is none
  std::string python;
  std::string python_version;  // "3.11.2"; empty when it did not start inside the sandbox
  bool starts = false;         // namespaces, seccomp and the warm Python work
  bool runs = false;           // a right and a wrong program got their verdicts
  std::string confined_by;     // in words
  std::string problem;         // what is missing and the remedy; empty when all works
};

// Takes about 0.3 s. What it finds wanting it reports and does not throw. An empty `bwrap` is looked for on
// PATH.
SandboxProbe sandbox_probe(const std::filesystem::path& bwrap = {},
                           const std::filesystem::path& python = "/usr/bin/python3");

}  // namespace quench::worker
