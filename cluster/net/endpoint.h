// Where a coordinator listens: "tcp://127.0.0.1:4711", "tls://host:4711" or "unix:///path/quench.sock". Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "cluster/net/socket.h"

namespace quench::cluster {

struct Endpoint {
  Transport transport = Transport::tcp;
  std::string host;            // tcp: a name or a numeric address
  std::uint16_t port = 0;      // tcp
  std::filesystem::path path;  // unix_socket
  bool encrypted = false;      // tcp: by TLS

  std::string to_string() const;
  // Throws Error(bad_input) naming the text and the forms.
  static Endpoint parse(std::string_view text);
  // To listen at: "HOST:PORT", where port 0 means any that is free. Throws Error(bad_input) as parse does.
  static Endpoint parse_listen(const std::string& text);
  bool is_loopback() const;
  bool operator==(const Endpoint&) const = default;
};

// Connects within `deadline`, driving `loop` on the calling thread meanwhile (so before the loop's own
// thread starts). Unix paths may be longer than the kernel's 107 bytes. Throws Error(unreachable) naming
// the endpoint.
Socket connect(Loop& loop, const Endpoint& endpoint, std::chrono::milliseconds deadline);

}  // namespace quench::cluster
