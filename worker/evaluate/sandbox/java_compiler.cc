#include "worker/evaluate/sandbox/java_compiler.h"

#include "schemas/error.h"
#include "worker/evaluate/embedded_files.h"

namespace quench::worker {
namespace {

// javac's heap; its own default is a quarter of the machine. A HumanEval program takes less than 64 MiB.
constexpr char kHeap[] = "-Xmx384m";
constexpr auto kStartDeadline = std::chrono::seconds(300);
// The compiler's own bound on classes is 16 MiB.
constexpr std::size_t kReplyBytesMax = 32 << 20;

SandboxProgram compiler_program(const JavaHost& java) {
  // A socket can be handed to Java as stdin and stdout only.
  std::vector<std::string> command{"/usr/bin/sh", "-c", "exec \"$@\" <&3 >&3 3>&-", "sh", java.java.string()};
  for (const char* option :
       {kHeap, "-XX:+UseSerialGC", "-XX:MaxMetaspaceSize=256m", "-XX:ReservedCodeCacheSize=64m",
        "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-XX:+DisableAttachMechanism",
        "-XX:ErrorFile=/dev/null", "-Xshare:auto", "/quench/Compiler.java", "/quench/javatuples.jar",
        "/quench/Runner.java", "/quench/PlainProgram.java"}) {
    command.emplace_back(option);
  }
  return {std::move(command),
          {{"Compiler.java", embedded::compiler_java()},
           {"Runner.java", embedded::runner_java()},
           {"PlainProgram.java", embedded::plain_program_java()},
           {"javatuples.jar", embedded::javatuples_jar()}},
          java.folders};
}

// Java's DataOutput: lengths with the most significant byte first.
class Fields {
 public:
  explicit Fields(std::string_view text) : rest_(text) {}
  std::string_view bytes(std::size_t count) {
    if (count > rest_.size())
      throw Error(ErrorCode::failed, "the Java compiler sent a reply that ends early");
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }
  std::size_t number(std::size_t width) {
    std::size_t value = 0;
    for (const char c : bytes(width)) value = value << 8 | static_cast<std::uint8_t>(c);
    return value;
  }
  std::string text() { return std::string(bytes(number(2))); }

 private:
  std::string_view rest_;
};

}  // namespace

JavaCompiler::JavaCompiler(const SandboxHost& host, const JavaHost& java, const SandboxLimits& limits)
    : process_(start_bubblewrap(host, limits, compiler_program(java))) {
  try {
    const std::string hello =
        receive_frame(process_.control(), kReplyBytesMax, SandboxClock::now() + kStartDeadline);
    Fields fields(hello);
    if (fields.bytes(1) != "H") throw Error(ErrorCode::failed, "the Java compiler began with something else");
    fields.text();  // its version
    for (std::size_t left = fields.number(4); left > 0; --left) {
      std::string name = fields.text();
      runner_.push_back({std::move(name), std::string(fields.bytes(fields.number(4)))});
    }
  } catch (const Error& error) {
    std::string errors = process_.errors();
    if (errors.empty() && process_.was_killed())
      throw Error(ErrorCode::failed, "the Java compiler was killed while it started: is memory short on this host?");
    throw Error(ErrorCode::bad_input, "the Java compiler " + java.java.string() +
                                          " does not start in the sandbox (" +
                                          (errors.empty() ? error.what() : errors) + ")");
  }
}

Compilation JavaCompiler::compile(std::string_view program, std::string_view tests,
                                  SandboxClock::time_point deadline) {
  std::string request;
  for (int shift = 24; shift >= 0; shift -= 8)
    request += static_cast<char>(tests.empty() ? 0 : program.size() >> shift);
  request += program;
  request += tests;
  send_frame(process_.control(), request, -1, deadline);
  const std::string reply = receive_frame(process_.control(), kReplyBytesMax, deadline);
  const char kind = reply.empty() ? '\0' : reply[0];
  if (kind == 'C') return {Compilation::Result::compiled, reply.substr(1)};
  if (kind == 'E') return {Compilation::Result::wrong, reply.substr(1)};
  if (kind == 'M') return {Compilation::Result::out_of_memory, {}};
  throw Error(ErrorCode::failed, "the Java compiler sent a reply of no known kind");
}

}  // namespace quench::worker
