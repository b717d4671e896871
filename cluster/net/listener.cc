#include "cluster/net/listener.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <optional>
#include <utility>

#include "cluster/net/limits.h"
#include "cluster/net/unix_path.h"
#include "schemas/error.h"

namespace quench::cluster {
namespace asio = boost::asio;
namespace {

using SystemError = boost::system::error_code;
using UnixProtocol = asio::local::stream_protocol;

// Out of file descriptors, say: connections wait in the backlog meanwhile.
constexpr std::chrono::milliseconds kAcceptRetry{100};

// The user at the other end of a Unix socket, by the kernel.
bool is_same_user_or_root(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == ::geteuid() || peer.uid == 0;
}

Error listen_error(const Endpoint& endpoint, const SystemError& error) {
  return Error(ErrorCode::bad_input, "cannot listen on " + endpoint.to_string() + ": " + error.message());
}

// Throws unless `path` is free or a socket nobody listens on.
void check_replaceable(const UnixPath& path, const Endpoint& endpoint) {
  struct stat info {};
  if (::fstatat(path.folder(), path.name().c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return;
    throw errno_error(ErrorCode::bad_input, "cannot look at " + endpoint.path.string(), errno);
  }
  if (!S_ISSOCK(info.st_mode))
    throw Error(ErrorCode::bad_input,
                endpoint.path.string() + " exists and is not a socket; remove it or choose another path");
  asio::io_context probe;
  UnixProtocol::socket socket(probe);
  SystemError error;
  socket.open(UnixProtocol(), error);
  if (!error) socket.native_non_blocking(true, error);
  if (!error) socket.connect(UnixProtocol::endpoint(path.address()), error);
  if (error == asio::error::connection_refused) return;
  throw Error(ErrorCode::bad_input, endpoint.path.string() + " is served by another process; end it first");
}

}  // namespace

class Listener::State : public std::enable_shared_from_this<State> {
 public:
  State(Loop& loop, OnAccept on_accept)
      : on_accept_(std::move(on_accept)), tcp_(loop), unix_(loop), retry_(loop) {}
  ~State() { remove_socket_file(); }

  void listen_tcp(const std::string& address, std::uint16_t port) {
    endpoint_ = {.transport = Transport::tcp, .host = address, .port = port, .path = {}};
    SystemError error;
    const asio::ip::tcp::endpoint at(asio::ip::make_address(address, error), port);
    if (!error) tcp_.open(at.protocol(), error);
    if (!error) tcp_.set_option(asio::ip::tcp::acceptor::reuse_address(true), error);
    if (!error) tcp_.bind(at, error);
    if (!error) tcp_.listen(kListenBacklog, error);
    if (error) throw listen_error(endpoint_, error);
    endpoint_.port = tcp_.local_endpoint().port();
    accept_tcp();
  }

  // Bound under another name, restricted, listening, and only then moved into place: nobody finds a socket
  // that others may open, or that does not answer yet.
  void listen_unix(const std::filesystem::path& path, UnixPeers peers) {
    peers_ = peers;
    endpoint_ = {
        .transport = Transport::unix_socket, .host = {}, .port = 0, .path = std::filesystem::absolute(path)};
    path_.emplace(endpoint_.path);
    check_replaceable(*path_, endpoint_);
    const std::string unfinished = "." + std::to_string(::getpid()) + "." + path_->name();
    ::unlinkat(path_->folder(), unfinished.c_str(), 0);
    SystemError error;
    unix_.open(UnixProtocol(), error);
    if (!error) unix_.bind(UnixProtocol::endpoint(path_->address(unfinished)), error);
    if (error) throw listen_error(endpoint_, error);
    struct stat info {};
    if (::fchmodat(path_->folder(), unfinished.c_str(), peers == UnixPeers::same_user ? 0600 : 0666, 0) != 0)
      error.assign(errno, boost::system::generic_category());
    if (!error) unix_.listen(kListenBacklog, error);
    if (!error &&
        (::fstatat(path_->folder(), unfinished.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
         ::renameat(path_->folder(), unfinished.c_str(), path_->folder(), path_->name().c_str()) != 0))
      error.assign(errno, boost::system::generic_category());
    if (error) {
      ::unlinkat(path_->folder(), unfinished.c_str(), 0);
      throw listen_error(endpoint_, error);
    }
    inode_ = info.st_ino;
    accept_unix();
  }

  void stop() {
    stopped_ = true;
    SystemError ignored;
    tcp_.close(ignored);
    unix_.close(ignored);
    retry_.cancel();
    remove_socket_file();
  }
  const Endpoint& endpoint() const { return endpoint_; }

 private:
  void accept_tcp() {
    tcp_.async_accept([self = shared_from_this()](const SystemError& error, asio::ip::tcp::socket socket) {
      if (self->stopped_) return;
      if (error) return self->accept_later([self] { self->accept_tcp(); });
      self->accept_tcp();
      self->on_accept_(Socket(std::move(socket)), Transport::tcp);
    });
  }

  void accept_unix() {
    unix_.async_accept([self = shared_from_this()](const SystemError& error, UnixProtocol::socket socket) {
      if (self->stopped_) return;
      if (error) return self->accept_later([self] { self->accept_unix(); });
      self->accept_unix();
      if (self->peers_ == UnixPeers::every_user || is_same_user_or_root(socket.native_handle()))
        self->on_accept_(Socket(std::move(socket)), Transport::unix_socket);
    });
  }

  template <typename Accept>
  void accept_later(Accept accept) {
    retry_.expires_after(kAcceptRetry);
    retry_.async_wait([accept](const SystemError& error) {
      if (!error) accept();
    });
  }

  // Not a successor's, which may have replaced ours meanwhile.
  void remove_socket_file() {
    struct stat info {};
    if (inode_ && ::fstatat(path_->folder(), path_->name().c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
        info.st_ino == *inode_)
      ::unlinkat(path_->folder(), path_->name().c_str(), 0);
    inode_.reset();
  }

  OnAccept on_accept_;
  Endpoint endpoint_;
  UnixPeers peers_ = UnixPeers::same_user;
  asio::ip::tcp::acceptor tcp_;
  UnixProtocol::acceptor unix_;
  asio::steady_timer retry_;
  std::optional<UnixPath> path_;
  std::optional<ino_t> inode_;
  bool stopped_ = false;
};

Listener::Listener(std::shared_ptr<State> state) : state_(std::move(state)) {}
Listener::Listener(Listener&&) noexcept = default;
Listener& Listener::operator=(Listener&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
Listener::~Listener() {
  if (state_) state_->stop();
}

Listener Listener::tcp(Loop& loop, const std::string& address, std::uint16_t port, OnAccept on_accept) {
  auto state = std::make_shared<State>(loop, std::move(on_accept));
  state->listen_tcp(address, port);
  return Listener(std::move(state));
}

Listener Listener::unix_socket(Loop& loop, const std::filesystem::path& path, OnAccept on_accept, UnixPeers peers) {
  auto state = std::make_shared<State>(loop, std::move(on_accept));
  state->listen_unix(path, peers);
  return Listener(std::move(state));
}

const Endpoint& Listener::endpoint() const { return state_->endpoint(); }

}  // namespace quench::cluster
