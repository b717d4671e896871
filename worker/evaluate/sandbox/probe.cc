#include "worker/evaluate/sandbox/probe.h"

#include <memory>

#include "schemas/error.h"
#include "worker/evaluate/sandbox/sandbox.h"
#include "worker/evaluate/sandbox/zygote.h"

namespace quench::worker {

SandboxHost usable_sandbox_host(const std::filesystem::path& bwrap, const std::filesystem::path& python,
                                const SandboxLimits& limits, Confinement weakest) {
  if (weakest == Confinement::namespaces) return find_sandbox_host(bwrap, python);
  std::string without_namespaces;
  try {
    SandboxHost host = find_sandbox_host(bwrap, python);
    const Zygote trial(host, limits);
    return host;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_input) throw;
    without_namespaces = error.what();
  }
  try {
    SandboxHost host = landlock_host(python);
    const Zygote trial(host, limits);
    return host;
  } catch (const Error& error) {
    if (error.code() != ErrorCode::bad_input) throw;
    throw Error(ErrorCode::bad_input, without_namespaces + "; nor with Landlock: " + error.what());
  }
}

std::string in_words(const SandboxHost& host) {
  const std::string confinement(to_string(host.confinement));
  return host.groups.words.empty() ? confinement : confinement + ", " + host.groups.words;
}

SandboxProbe sandbox_probe(const std::filesystem::path& bwrap, const std::filesystem::path& python) {
  SandboxProbe probe;
  try {
    const SandboxHost host = find_sandbox_host(bwrap, python);
    probe.bwrap = host.bwrap.string();
    probe.python = host.python.string();
    probe.confined_by = in_words(host);
    const SandboxLimits limits;
    probe.python_version = Zygote(host, limits).python_version();
    probe.starts = true;
    Sandbox sandbox(host, limits);
    const Attempt good = sandbox.run_program("assert sum([1, 2]) == 3\n", limits.end_ms());
    const Attempt bad = sandbox.run_program("assert sum([1, 2]) == 4\n", limits.end_ms());
    probe.runs = good.execution.passed() && bad.execution.result == VerdictResult::failed;
    if (!probe.runs) probe.problem = "a small program got the wrong verdict: " + good.execution.detail;
  } catch (const Error& error) {
    probe.problem = error.what();
  }
  return probe;
}

}  // namespace quench::worker
