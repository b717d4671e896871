// Hosts for tests: network namespaces of this machine, each with an address of its own on one bridge, and a way to cut
// the lines between them. What runs in one sees no other network, and its host name is the host's.
#pragma once

#include <string>
#include <vector>

#include "tests/support/processes.h"

namespace quench::testing {

enum class Cut {
  black_hole,  // nothing goes in or out
  deaf,        // what others send does not arrive; what it sends does
  mute,        // the other way round
  half_lost,   // every other packet, either way, by chance
};

class NamespaceHosts {
 public:
  // Throws std::runtime_error saying what is missing.
  explicit NamespaceHosts(std::vector<std::string> names);
  ~NamespaceHosts();
  NamespaceHosts(const NamespaceHosts&) = delete;
  NamespaceHosts& operator=(const NamespaceHosts&) = delete;

  std::string address(const std::string& host) const;
  // `arguments` as they run on `host`.
  std::vector<std::string> on(const std::string& host, const std::vector<std::string>& arguments) const;
  // A program like ssh: AGENT HOST WORDS... runs the words there, with none of our environment but mark(HOST).
  std::string agent() const { return (directory_ / "agent").string(); }
  // The variable by which what runs on `host` is found (processes_with), and on no other test's hosts.
  std::string mark(const std::string& host) const { return "QUENCH_TEST_HOST=" + space(host); }

  // Between `host` and all others, or only `other`.
  void cut(const std::string& host, Cut kind, const std::string& other = "") const;
  void heal(const std::string& host) const;

 private:
  std::string space(const std::string& host) const { return prefix_ + host; }
  void remove() const;

  ScratchDirectory directory_;
  std::string prefix_;
  std::vector<std::string> names_;
};

}  // namespace quench::testing
