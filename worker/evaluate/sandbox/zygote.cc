#include "worker/evaluate/sandbox/zygote.h"

#include "schemas/error.h"
#include "worker/evaluate/embedded_files.h"
#include "worker/evaluate/sandbox/frames.h"
#include "worker/evaluate/sandbox/landlock.h"
#include "worker/evaluate/sandbox/report.h"

namespace quench::worker {
namespace {

// A reply holds at most 2 KiB of stderr and 16 KiB of status, six bytes for each when escaped.
constexpr std::size_t kReplyBytesMax = 1 << 20;
constexpr auto kStartDeadline = std::chrono::seconds(30);

std::string remedy_for(const std::string& errors) {
  const auto says = [&](const char* words) { return errors.find(words) != std::string::npos; };
  if (says("namespace") || says("uid map") || says("Operation not permitted")) {
    return "this host forbids unprivileged user namespaces: an administrator may allow them with sysctl "
           "user.max_user_namespaces=15000 (Debian and Ubuntu also kernel.unprivileged_userns_clone=1 or "
           "kernel.apparmor_restrict_unprivileged_userns=0; containers need a seccomp profile that allows "
           "them). Where that cannot be, Landlock holds programs less closely: quench grade --allow-landlock, or "
           "\"sandbox\": \"landlock\" in a job";
  }
  if (says("proc")) return "a new /proc cannot be mounted here: containers need an unmasked /proc";
  return "run the same as another user or on another host, or ask your administrator";
}

// The warm Python; `more` adds files and folders that the programs it starts need.
SandboxProgram zygote_program(const SandboxHost& host, const SandboxProgram& more, ZygoteKind kind) {
  const std::filesystem::path python = std::filesystem::canonical(host.python);
  SandboxProgram program{{python.string(), "-s", "-B", "/quench/zygote.py",
                          kind == ZygoteKind::tests ? "tests" : "answers"},
                         {{"zygote.py", embedded::zygote_py()},
                          {"answer.py", embedded::answer_py()},
                          {"examiner.py", embedded::examiner_py()},
                          {"values.py", embedded::values_py()},
                          {"quick.py", embedded::quick_py()},
                          {"quick_loop.so", embedded::quick_loop_so()},
                          {"desk.py", embedded::desk_py()}},
                         {}};
  if (python.parent_path() != "/usr/bin") program.folders.push_back(python.parent_path().parent_path());
  program.files.insert(program.files.end(), more.files.begin(), more.files.end());
  program.folders.insert(program.folders.end(), more.folders.begin(), more.folders.end());
  return program;
}

}  // namespace

Zygote::Zygote(const SandboxHost& host, const SandboxLimits& limits, const SandboxProgram& more, ZygoteKind kind)
    : process_(host.confinement == Confinement::landlock
                   ? start_landlocked(host, limits, zygote_program(host, more, kind))
                   : start_bubblewrap(host, limits, zygote_program(host, more, kind))) {
  try {
    const nlohmann::json hello = receive(Clock::now() + kStartDeadline);
    python_version_ = hello.at("ready").get<std::string>();
    process_.drop_sources();
    if (kind == ZygoteKind::answers) send({{"limits", run_request(0, "answer", limits, limits.end_ms())}});
  } catch (const std::exception& error) {
    std::string errors = process_.errors();
    const auto* const late = dynamic_cast<const Error*>(&error);
    // A host that is too busy now may have time later.
    if (errors.empty() && late != nullptr && late->code() == ErrorCode::timed_out)
      throw Error(ErrorCode::timed_out, "the sandbox did not start within 30 s: is this host overloaded?");
    if (errors.empty() && process_.was_killed())
      throw Error(ErrorCode::failed, "the sandbox was killed while it started: is memory short on this host?");
    if (errors.empty()) errors = error.what();
    throw Error(ErrorCode::bad_input, "the sandbox does not start (" + errors + "); " + remedy_for(errors));
  }
}

void Zygote::send(const nlohmann::json& message, int fd) {
  // A model's completion need not be valid UTF-8; Python source must be.
  send_frame(process_.control(), message.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), fd);
}

void Zygote::send_text(std::string_view text, std::span<const int> fds) {
  send_frame(process_.control(), text, fds);
}

nlohmann::json Zygote::receive(Clock::time_point deadline) {
  const std::string text = receive_frame(process_.control(), kReplyBytesMax, deadline);
  try {
    nlohmann::json message = nlohmann::json::parse(text);
    if (!message.is_object()) throw Error(ErrorCode::failed, "the sandbox sent a reply that is no object");
    return message;
  } catch (const nlohmann::json::exception&) {
    throw Error(ErrorCode::failed, "the sandbox sent a reply that is not JSON");
  }
}

}  // namespace quench::worker
