#include "cluster/launch/gang_script.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "schemas/error.h"

namespace quench::cluster {
namespace {

namespace fs = std::filesystem;

// A job that was put back into the queue may begin before the coordinator has the next attempt ready.
constexpr int kWaitForCommandSeconds = 300;

std::string quoted(const std::string& text) {
  std::string all(1, '\'');
  for (const char character : text) {
    if (character == '\'') all.append("'\\'");
    all.push_back(character);
  }
  all.push_back('\'');
  return all;
}

}  // namespace

void write_private_file(const fs::path& file, const std::string& text) {
  const fs::path partial = file.string() + ".partial";
  ::unlink(partial.c_str());
  const int descriptor = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (descriptor < 0) throw errno_error(ErrorCode::failed, "cannot write " + partial.string(), errno);
  const ssize_t written = ::write(descriptor, text.data(), text.size());
  const int problem = errno;
  ::close(descriptor);
  if (written != static_cast<ssize_t>(text.size()))
    throw errno_error(ErrorCode::failed, "cannot write " + partial.string(), problem);
  if (::rename(partial.c_str(), file.c_str()) != 0)
    throw errno_error(ErrorCode::failed, "cannot write " + file.string(), errno);
}

void write_gang_command(const fs::path& folder, const GangCommand& command, const std::string& gang) {
  write_private_file(folder / "secret", command.secret);
  if (!command.certificate.empty()) write_private_file(folder / kCertificateFile, command.certificate);
  const std::string file = quoted((folder / "command").string());
  write_private_file(folder / "rank", "n=0\nuntil [ -r " + file + " ]; do\n  n=$((n + 1))\n  if [ $n -gt " +
                                          std::to_string(kWaitForCommandSeconds) +
                                          " ]; then echo 'quench: nothing to run came' >&2; exit 75; fi\n"
                                          "  sleep 1\ndone\nexec /bin/sh " + file + "\n");
  std::string text;
  const auto set = [&](const std::string& name, const std::string& value) {
    text += "export " + name + "=" + quoted(value) + "\n";
  };
  for (const auto& [name, value] : command.environment) set(name, value);
  set(kSecretFileVariable, (folder / "secret").string());
  set(kGangVariable, gang);
  set("OMP_NUM_THREADS", std::to_string(command.threads));
  text += "exec " + quoted(fs::absolute(command.program).string());
  for (const std::string& argument : command.arguments) text += " " + quoted(argument);
  // Last: whoever finds it finds what it names.
  write_private_file(folder / "command", text + "\n");
}

void remove_gang_command(const fs::path& folder) {
  std::error_code ignored;
  fs::remove(folder / "command", ignored);
}

std::string gang_script_command(const fs::path& folder) { return "/bin/sh " + quoted((folder / "rank").string()); }

}  // namespace quench::cluster
