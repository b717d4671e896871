#include "cluster/net/stream.h"

#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <utility>

namespace quench::cluster {
namespace asio = boost::asio;

struct Stream::Tls {
  Tls(Socket socket, std::shared_ptr<TlsContext> given, TlsSide which)
      : context(std::move(given)), stream(std::move(socket), *context), side(which) {}
  std::shared_ptr<TlsContext> context;  // shared with every stream of its listener
  asio::ssl::stream<Socket> stream;
  TlsSide side;
};

Stream::Stream(Socket socket, std::shared_ptr<TlsContext> tls, TlsSide side) {
  if (tls != nullptr)
    tls_ = std::make_unique<Tls>(std::move(socket), std::move(tls), side);
  else
    plain_ = std::make_unique<Socket>(std::move(socket));
}
Stream::~Stream() = default;

Socket& Stream::socket() { return tls_ ? tls_->stream.next_layer() : *plain_; }

void Stream::async_handshake(Done done) {
  tls_->stream.async_handshake(tls_->side == TlsSide::server ? asio::ssl::stream_base::server : asio::ssl::stream_base::client,
                               [done = std::move(done)](const boost::system::error_code& error) { done(error, 0); });
}

void Stream::async_read_some(asio::mutable_buffer into, Done done) {
  if (!tls_) return plain_->async_read_some(into, std::move(done));
  tls_->stream.async_read_some(into, [done = std::move(done)](const boost::system::error_code& error, std::size_t bytes) {
    // Peers that die say no farewell; frames say by themselves whether they are whole.
    done(error == asio::ssl::error::stream_truncated ? asio::error::make_error_code(asio::error::eof) : error, bytes);
  });
}

void Stream::async_write(const std::vector<asio::const_buffer>& all, Done done) {
  if (tls_) return asio::async_write(tls_->stream, all, std::move(done));
  asio::async_write(*plain_, all, std::move(done));
}

}  // namespace quench::cluster
