// Accepts peers on TCP or on a Unix socket. Loop thread.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "cluster/net/endpoint.h"
#include "cluster/net/socket.h"

namespace quench::cluster {

// Whom a Unix socket lets in.
enum class UnixPeers {
  same_user,   // and root: mode 0600, and the kernel is asked who it is
  every_user,  // mode 0666; whoever accepts must ask by himself
};

class Listener {
 public:
  using OnAccept = std::function<void(Socket, Transport)>;

  // `address` is numeric ("127.0.0.1", "0.0.0.0", "::1"); port 0 picks a free one, which endpoint()
  // then names. Throws Error(bad_input) on an address that is not this machine's or a taken port.
  static Listener tcp(Loop& loop, const std::string& address, std::uint16_t port, OnAccept on_accept);
  // A socket file nobody listens on is replaced atomically. Throws Error(bad_input) when
  // another process serves the path, or when it is something else than a socket.
  static Listener unix_socket(Loop& loop, const std::filesystem::path& path, OnAccept on_accept,
                              UnixPeers peers = UnixPeers::same_user);

  Listener(Listener&&) noexcept;
  Listener& operator=(Listener&&) noexcept;
  ~Listener();  // stops accepting; removes its own socket file

  const Endpoint& endpoint() const;

 private:
  class State;
  explicit Listener(std::shared_ptr<State> state);
  // Two owners: this handle and the pending accept.
  std::shared_ptr<State> state_;
};

}  // namespace quench::cluster
