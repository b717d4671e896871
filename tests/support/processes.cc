#include "tests/support/processes.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace quench::testing {
namespace {

// fork, redirect, exec. -1 as a descriptor: /dev/null.
pid_t spawn(const std::vector<std::string>& arguments, const Environment& added, int out, int err) {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text = *variable;
    if (added.count(text.substr(0, text.find('='))) == 0) variables.push_back(text);
  }
  for (const auto& [name, value] : added) variables.push_back(name + "=" + value);
  std::vector<char*> argv, envp;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  for (const std::string& variable : variables) envp.push_back(const_cast<char*>(variable.c_str()));
  argv.push_back(nullptr);
  envp.push_back(nullptr);
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) {
    const int null = ::open("/dev/null", O_RDWR);
    ::dup2(null, 0);
    ::dup2(out < 0 ? null : out, 1);
    ::dup2(err < 0 ? null : err, 2);
    ::execvpe(argv[0], argv.data(), envp.data());
    ::_exit(127);
  }
  return child;
}

int code_of(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

}  // namespace

Finished run(const std::vector<std::string>& arguments, const Environment& added,
             std::chrono::seconds deadline) {
  int out[2], err[2];
  if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) throw std::runtime_error("pipe failed");
  const pid_t child = spawn(arguments, added, out[1], err[1]);
  ::close(out[1]);
  ::close(err[1]);
  Finished finished;
  const auto end = std::chrono::steady_clock::now() + deadline;
  pollfd streams[2] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}};
  std::string* texts[2] = {&finished.out, &finished.err};
  int open = 2;
  while (open > 0) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0 || ::poll(streams, 2, static_cast<int>(left.count())) == 0) {
      ::kill(child, SIGKILL);
      break;
    }
    for (int i = 0; i < 2; ++i) {
      if (streams[i].fd < 0 || streams[i].revents == 0) continue;
      char buffer[65536];
      const ssize_t got = ::read(streams[i].fd, buffer, sizeof buffer);
      if (got > 0) {
        texts[i]->append(buffer, static_cast<std::size_t>(got));
      } else {
        streams[i].fd = -1;
        --open;
      }
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ::close(out[0]);
  ::close(err[0]);
  finished.exit_code = code_of(status);
  return finished;
}

Running::Running(const std::vector<std::string>& arguments, const Environment& added,
                 const std::filesystem::path& err_file) {
  const int err = ::open(err_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  pid_ = spawn(arguments, added, -1, err);
  ::close(err);
}

Running::~Running() {
  if (!ended()) {
    ::kill(pid_, SIGKILL);
    wait();
  }
}

bool Running::ended() {
  if (!reaped_ && ::waitpid(pid_, &status_, WNOHANG) == pid_) reaped_ = true;
  return reaped_;
}

void Running::kill(int signal) {
  if (!ended()) ::kill(pid_, signal);
}

int Running::wait() {
  if (!reaped_) {
    ::waitpid(pid_, &status_, 0);
    reaped_ = true;
  }
  return code_of(status_);
}

std::vector<pid_t> processes_with(const std::string& marker) { return processes_with(marker, ""); }

std::vector<pid_t> processes_with(const std::string& marker, const std::string& name) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string id = entry.path().filename();
    if (!std::all_of(id.begin(), id.end(), [](char c) { return c >= '0' && c <= '9'; })) continue;
    std::ifstream in(entry.path() / "environ", std::ios::binary);
    std::string variable;
    bool marked = false;
    while (std::getline(in, variable, '\0')) marked = marked || variable == marker;
    if (!marked) continue;
    std::error_code error;
    const auto program = std::filesystem::read_symlink(entry.path() / "exe", error).filename();
    if (name.empty() || program == name) found.push_back(static_cast<pid_t>(std::stol(id)));
  }
  return found;
}

std::string quench_program() { return QUENCH_BIN_DIR "/quench"; }
std::string worker_program() { return QUENCH_BIN_DIR "/quench-worker"; }
std::filesystem::path fixture(const std::string& name) {
  return std::filesystem::path(QUENCH_SOURCE_DIR) / "tests" / "fixtures" / name;
}

ScratchDirectory::ScratchDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "quench-test-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = pattern;
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

int count_asked(const char* variable, int otherwise) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? otherwise : std::stoi(text);
}

void write_text(const std::filesystem::path& file, const std::string& text) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
}

std::string read_text(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return std::move(text).str();
}

}  // namespace quench::testing
