#include "worker/evaluate/sandbox/java_sandbox.h"

#include <algorithm>
#include <optional>

#include "schemas/error.h"
#include "worker/evaluate/embedded_files.h"
#include "worker/evaluate/sandbox/report.h"
#include "worker/evaluate/sandbox/zygote.h"

namespace quench::worker {
namespace {

// On top of a program's wall clock: a zygote that is later than that is broken.
constexpr auto kReplyGrace = std::chrono::seconds(20);
// A Java machine has about 15 threads before the program's first.
constexpr std::uint32_t kMachineThreads = 64;
constexpr std::uint32_t kMachineFiles = 64;
constexpr std::size_t kSourceBytesMax = 16 << 20;
constexpr char kJavacOutOfMemory[] = "javac ran out of memory";

// Java announces the coming end of its security manager in lines that are not the program's.
std::string without_notices(const std::string& tail) {
  std::string kept;
  for (std::size_t at = 0; at < tail.size();) {
    const std::size_t end = std::min(tail.find('\n', at), tail.size() - 1) + 1;
    const std::string_view line = std::string_view(tail).substr(at, end - at);
    if (!line.starts_with("WARNING: ") ||
        (line.find("System::setSecurityManager") == line.npos && line.find("quench.Runner") == line.npos)) {
      kept += line;
    }
    at = end;
  }
  return kept;
}

VerdictResult failure_of(const std::string& detail) {
  return detail.starts_with("java.lang.OutOfMemoryError") ? VerdictResult::out_of_memory
                                                          : VerdictResult::failed;
}

}  // namespace

JavaSandbox::JavaSandbox(SandboxHost host, JavaHost java, SandboxLimits limits)
    : host_(std::move(host)), java_(std::move(java)), limits_(limits) {
  // A limit below is for the program; the machine's own files and threads come on top.
  limits_.processes += kMachineThreads;
  limits_.open_files += kMachineFiles;
  start_compiler();
  runner_classes_ = compiler_->runner();
  start_runner();
}

JavaSandbox::~JavaSandbox() = default;

void JavaSandbox::start_compiler() {
  compiler_.reset();
  compiler_ = std::make_unique<JavaCompiler>(host_, java_, limits_);
}

void JavaSandbox::start_runner() {
  runner_.reset();
  SandboxProgram more;
  for (const JavaClass& part : runner_classes_) {
    std::string path = part.name;
    std::replace(path.begin(), path.end(), '.', '/');
    more.files.push_back({"java/" + path + ".class", part.bytes});
  }
  more.files.push_back({"javatuples.jar", embedded::javatuples_jar()});
  more.folders = java_.folders;
  runner_ = std::make_unique<Zygote>(host_, limits_, more);
}

std::vector<std::string> JavaSandbox::command() const {
  // The heap must end before the limit on resident memory does, so that Java says OutOfMemoryError.
  const std::string heap = "-Xmx" + std::to_string((limits_.total_memory_bytes * 3 / 4) >> 20) + "m";
  std::vector<std::string> list{java_.java.string(), heap};
  for (const char* option :
       {"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-XX:+DisableAttachMechanism",
        "-XX:MaxMetaspaceSize=128m", "-XX:MaxDirectMemorySize=64m", "-XX:ReservedCodeCacheSize=64m",
        "-XX:ErrorFile=/dev/null", "-Xshare:auto", "-ea"}) {
    list.emplace_back(option);
  }
  // Without it Java 18 and newer refuse a security manager, and from Java 24 on there is none to allow.
  if (java_.major < 24) list.emplace_back("-Djava.security.manager=allow");
  list.insert(list.end(), {"-cp", "/quench/java:/quench/javatuples.jar", "quench.Runner"});
  return list;
}

Attempt JavaSandbox::run_program(const std::string& program, std::uint32_t wall_ms, std::string_view tests) {
  try {
    return try_program(program, tests, wall_ms);
  } catch (const Error& error) {
    std::optional<std::string> out_of_memory;
    if (compiler_->was_out_of_memory()) out_of_memory = kJavacOutOfMemory;
    if (runner_->was_out_of_memory()) out_of_memory = in_words(VerdictResult::out_of_memory, limits_);
    start_compiler();
    start_runner();
    Attempt attempt = attempt_of_lost_sandbox(error, out_of_memory);
    attempt.execution.isolated = false;
    return attempt;
  }
}

Attempt JavaSandbox::try_program(const std::string& program, std::string_view tests, std::uint32_t wall_ms) {
  Attempt attempt;
  Execution& execution = attempt.execution;
  execution.isolated = false;
  if (program.size() + tests.size() > kSourceBytesMax) {
    conclude(attempt, VerdictResult::compile_error, "the program is longer than 16 MiB");
    return attempt;
  }

  Compilation compilation;
  const auto started = SandboxClock::now();
  try {
    compilation = compiler_->compile(program, tests, started + std::chrono::milliseconds(wall_ms));
  } catch (const Error& error) {
    if (error.code() != ErrorCode::timed_out) throw;
    start_compiler();
    conclude(attempt, VerdictResult::timed_out, "javac ran longer than " + std::to_string(wall_ms) + " ms");
    attempt.inconclusive = true;
    return attempt;
  }
  const auto compiled_in =
      std::chrono::duration_cast<std::chrono::milliseconds>(SandboxClock::now() - started);
  if (compilation.result != Compilation::Result::compiled) {
    execution.wall_ms = static_cast<std::uint64_t>(compiled_in.count());
    if (compilation.result == Compilation::Result::out_of_memory) {
      conclude(attempt, VerdictResult::out_of_memory, kJavacOutOfMemory);
      start_compiler();
    } else {
      conclude(attempt, VerdictResult::compile_error, compilation.text);
    }
    return attempt;
  }

  const std::uint64_t id = next_id_++;
  const std::string nonce = fresh_nonce();
  nlohmann::json message = run_request(id, "execute", limits_, wall_ms);
  message["nonce"] = nonce;
  message["command"] = command();
  message["input"] = compilation.text;
  runner_->send(message);
  const Report report = parse_report(
      runner_->receive(Zygote::Clock::now() + std::chrono::milliseconds(wall_ms) + kReplyGrace), id);

  execution.cpu_ms = report.cpu_ms;
  execution.wall_ms = report.wall_ms;
  execution.stderr_tail = without_notices(report.stderr_tail);
  static constexpr std::string_view kError = "error ", kDenied = "denied ";
  if (!conclude_by_limits(attempt, report, report.status == nonce, limits_, wall_ms)) {
    if (report.status.starts_with(kDenied)) {
      conclude(attempt, VerdictResult::sandbox_violation, report.status.substr(kDenied.size()));
    } else if (report.status.starts_with(kError)) {
      std::string words = report.status.substr(kError.size());
      const VerdictResult result = failure_of(words);
      conclude(attempt, result, std::move(words));
    } else {
      conclude(attempt, VerdictResult::failed, ending(report));
    }
  }
  if (report.dirty) start_runner();
  return attempt;
}

}  // namespace quench::worker
