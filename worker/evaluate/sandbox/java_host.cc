#include "worker/evaluate/sandbox/java_host.h"

#include <unistd.h>

#include <charconv>
#include <fstream>

#include "schemas/error.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;

constexpr char kDefaultHome[] = "/usr/lib/jvm/default-java";
constexpr int kOldestJava = 17;

bool executable(const fs::path& path) { return ::access(path.c_str(), X_OK) == 0; }

// `release` of a kit has lines such as JAVA_VERSION="17.0.15".
std::string version_of(const fs::path& home) {
  std::ifstream in(home / "release");
  std::string line;
  constexpr std::string_view kField = "JAVA_VERSION=\"";
  while (std::getline(in, line)) {
    if (!line.starts_with(kField)) continue;
    return line.substr(kField.size(), line.find('"', kField.size()) - kField.size());
  }
  return {};
}

bool is_below(const fs::path& path, const fs::path& folder) {
  const fs::path relative = path.lexically_relative(folder);
  return !relative.empty() && *relative.begin() != "..";
}

}  // namespace

JavaHost find_java_host(const fs::path& given) {
  fs::path home = given;
  if (home.empty()) {
    home = kDefaultHome;
    const fs::path javac = executable(home / "bin/javac") ? fs::path() : find_on_path("javac");
    if (!javac.empty()) home = fs::canonical(javac).parent_path().parent_path();
  }
  if (!executable(home / "bin/java") || !executable(home / "bin/javac")) {
    throw Error(
        ErrorCode::bad_input,
        "there is no Java development kit (" + (home / "bin/javac").string() +
            "); Java programs are compiled and run with one: install the package default-jdk-headless");
  }
  home = fs::canonical(home);
  JavaHost host{home / "bin/java", version_of(home), 0, {}};
  std::from_chars(host.version.data(), host.version.data() + host.version.size(), host.major);
  if (host.major < kOldestJava) {
    throw Error(ErrorCode::bad_input,
                "the Java development kit in " + home.string() + " is of version " +
                    (host.version.empty() ? "unknown" : host.version) + "; expected " +
                    std::to_string(kOldestJava) +
                    " or newer: install the package default-jdk-headless, or name another kit");
  }
  if (!is_below(home, "/usr/lib")) host.folders.push_back(home);
  // Debian keeps a kit's configuration in /etc and links to it.
  std::error_code none;
  const fs::path configuration = fs::canonical(home / "lib/jvm.cfg", none).parent_path();
  if (!none && !is_below(configuration, home)) host.folders.push_back(configuration);
  return host;
}

}  // namespace quench::worker
