// A socket's bytes, encrypted or not. Loop thread; whoever owns it keeps it alive while an operation is pending.
#pragma once

#include <boost/asio/buffer.hpp>
#include <functional>
#include <memory>
#include <vector>

#include "cluster/net/socket.h"
#include "cluster/net/tls.h"

namespace quench::cluster {

class Stream {
 public:
  using Done = std::function<void(const boost::system::error_code&, std::size_t)>;

  // `tls` null: not encrypted.
  Stream(Socket socket, std::shared_ptr<TlsContext> tls, TlsSide side);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  bool encrypted() const { return tls_ != nullptr; }
  Socket& socket();
  // First of all where it is encrypted.
  void async_handshake(Done done);
  void async_read_some(boost::asio::mutable_buffer into, Done done);
  void async_write(const std::vector<boost::asio::const_buffer>& all, Done done);

 private:
  struct Tls;
  std::unique_ptr<Socket> plain_;
  std::unique_ptr<Tls> tls_;
};

}  // namespace quench::cluster
