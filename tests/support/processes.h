// Real programs for tests: run to the end, or start, watch and kill.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace quench::testing {

struct Finished {
  int exit_code = 0;  // 128 + signal when killed
  std::string out;
  std::string err;
};

using Environment = std::map<std::string, std::string>;

// Runs `arguments[0]` with these variables added to ours, at most `deadline` (then it is killed and
// exit_code is 137).
Finished run(const std::vector<std::string>& arguments, const Environment& added = {},
             std::chrono::seconds deadline = std::chrono::seconds(240));

// A program in the background; killed when the object goes.
class Running {
 public:
  Running(const std::vector<std::string>& arguments, const Environment& added,
          const std::filesystem::path& err_file);
  ~Running();
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  pid_t pid() const { return pid_; }
  bool ended();
  void kill(int signal);
  // Exit code, 128 + signal when killed.
  int wait();

 private:
  pid_t pid_;
  bool reaped_ = false;
  int status_ = 0;
};

// Processes of which `marker` is an element of the environment ("NAME=value").
std::vector<pid_t> processes_with(const std::string& marker);
// The same, and whose program's file name is `name`.
std::vector<pid_t> processes_with(const std::string& marker, const std::string& name);

// The build's programs.
std::string quench_program();
std::string worker_program();
// tests/fixtures/NAME of the source tree.
std::filesystem::path fixture(const std::string& name);

// A directory that is removed with the object.
class ScratchDirectory {
 public:
  ScratchDirectory();
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

// The number in this environment variable: tests that repeat themselves have a short form and take a longer one from there.
int count_asked(const char* variable, int otherwise);

void write_text(const std::filesystem::path& file, const std::string& text);
std::string read_text(const std::filesystem::path& file);

}  // namespace quench::testing
