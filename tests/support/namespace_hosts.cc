#include "tests/support/namespace_hosts.h"

#include <unistd.h>

#include <algorithm>
#include <stdexcept>

namespace quench::testing {
namespace {

void must(const std::vector<std::string>& arguments) {
  const Finished finished = run(arguments);
  if (finished.exit_code == 0) return;
  std::string words;
  for (const std::string& argument : arguments) words += argument + " ";
  throw std::runtime_error(words + "failed: " + finished.err);
}

}  // namespace

NamespaceHosts::NamespaceHosts(std::vector<std::string> names)
    : prefix_("quench-" + std::to_string(::getpid()) + "-"), names_(std::move(names)) {
  if (::geteuid() != 0) throw std::runtime_error("network namespaces need root");
  for (const char* const program : {"ip", "nft", "unshare"})
    if (run({"/bin/sh", "-c", std::string("PATH=$PATH:/usr/sbin:/sbin command -v ") + program}).exit_code != 0)
      throw std::runtime_error(std::string(program) + " is not installed (Debian: apt-get install iproute2 nftables)");
  try {
    must({"ip", "netns", "add", space("switch")});
    must({"ip", "-n", space("switch"), "link", "add", "bridge", "type", "bridge"});
    must({"ip", "-n", space("switch"), "link", "set", "bridge", "up"});
    for (const std::string& host : names_) {
      must({"ip", "netns", "add", space(host)});
      must({"ip", "link", "add", "wire", "netns", space(host), "type", "veth", "peer", "name", "to-" + host, "netns",
            space("switch")});
      must({"ip", "-n", space("switch"), "link", "set", "to-" + host, "master", "bridge"});
      must({"ip", "-n", space("switch"), "link", "set", "to-" + host, "up"});
      must({"ip", "-n", space(host), "address", "add", address(host) + "/24", "dev", "wire"});
      must({"ip", "-n", space(host), "link", "set", "wire", "up"});
      must({"ip", "-n", space(host), "link", "set", "lo", "up"});
    }
    const std::string& first = names_.front();
    cut(first, Cut::half_lost);  // nftables may be there without its kernel parts
    heal(first);
  } catch (...) {
    remove();
    throw;
  }
  write_text(directory_ / "agent",
             "#!/bin/sh\nhost=$1\nshift\nexport QUENCH_TEST_HOST=\"" + prefix_ +
                 "$host\"\nexec ip netns exec \"$QUENCH_TEST_HOST\" unshare --uts /bin/sh -c 'hostname \"$1\"; shift; "
                 "exec env -i PATH=\"$PATH\" HOME=/root QUENCH_TEST_HOST=\"$QUENCH_TEST_HOST\" /bin/sh -c \"$*\"' "
                 "agent \"$host\" \"$@\"\n");
  std::filesystem::permissions(directory_ / "agent", std::filesystem::perms::owner_all);
}

NamespaceHosts::~NamespaceHosts() { remove(); }

// What still runs in a namespace keeps it alive, without a name.
void NamespaceHosts::remove() const {
  for (const std::string& host : names_) {
    run({"/bin/sh", "-c", "ip netns pids " + space(host) + " | xargs -r kill -9"});
    run({"ip", "netns", "delete", space(host)});
  }
  run({"ip", "netns", "delete", space("switch")});
}

std::string NamespaceHosts::address(const std::string& host) const {
  const auto at = std::find(names_.begin(), names_.end(), host);
  if (at == names_.end()) throw std::runtime_error("no host " + host);
  return "10.77.0." + std::to_string(at - names_.begin() + 1);
}

std::vector<std::string> NamespaceHosts::on(const std::string& host, const std::vector<std::string>& arguments) const {
  std::vector<std::string> all = {"ip",      "netns",   "exec", space(host),
                                  "unshare", "--uts",   "env",  mark(host),
                                  "/bin/sh", "-c",      "hostname \"$0\"; exec \"$@\"", host};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return all;
}

void NamespaceHosts::cut(const std::string& host, Cut kind, const std::string& other) const {
  const auto rule = [&](const char* direction) {
    std::string words = other.empty() ? "" : std::string("ip ") + direction + " " + address(other) + " ";
    if (kind == Cut::half_lost) words += "numgen random mod 2 0 ";
    return words + "drop; ";
  };
  std::string table = "table inet cut { ";
  if (kind != Cut::mute)
    table += "chain in { type filter hook input priority 0; policy accept; iifname \"lo\" accept; " + rule("saddr") + "}; ";
  if (kind != Cut::deaf)
    table += "chain out { type filter hook output priority 0; policy accept; oifname \"lo\" accept; " + rule("daddr") + "}; ";
  must({"ip", "netns", "exec", space(host), "nft", table + "}"});
}

void NamespaceHosts::heal(const std::string& host) const {
  must({"ip", "netns", "exec", space(host), "nft", "delete", "table", "inet", "cut"});
}

}  // namespace quench::testing
