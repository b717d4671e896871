#include "cluster/net/endpoint.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <charconv>
#include <optional>

#include "cluster/net/unix_path.h"
#include "schemas/error.h"

namespace quench::cluster {
namespace asio = boost::asio;
namespace {

using SystemError = boost::system::error_code;

constexpr std::string_view kTcp = "tcp://";
constexpr std::string_view kTls = "tls://";
constexpr std::string_view kUnix = "unix://";

Error endpoint_error(std::string_view text) {
  return Error(ErrorCode::bad_input, "endpoint \"" + std::string(text) +
                                         "\": expected tcp://HOST:PORT or tls://HOST:PORT (port 1 to 65535) or unix:///PATH");
}

// Runs the loop until `done`; the operation behind it is bounded by `timer`.
void run_until(Loop& loop, const std::optional<SystemError>& done) {
  loop.restart();
  while (!done) loop.run_one();
}

Socket connect_tcp(Loop& loop, const Endpoint& endpoint, std::chrono::milliseconds deadline) {
  asio::ip::tcp::resolver resolver(loop);
  asio::ip::tcp::socket socket(loop);
  std::optional<SystemError> done;
  bool late = false;
  asio::steady_timer timer(loop, deadline);
  timer.async_wait([&](const SystemError& error) {
    if (error) return;
    late = true;
    resolver.cancel();
    SystemError ignored;
    socket.close(ignored);
  });
  // The service is numeric; a host may be a name, which the resolver looks up on a thread of its own.
  resolver.async_resolve(
      endpoint.host, std::to_string(endpoint.port), asio::ip::resolver_base::numeric_service,
      [&](const SystemError& error, const asio::ip::tcp::resolver::results_type& found) {
        if (error || late) {
          done = error ? error : asio::error::timed_out;
          return;
        }
        asio::async_connect(socket, found, [&](const SystemError& failure, const asio::ip::tcp::endpoint&) {
          done = failure;
        });
      });
  run_until(loop, done);
  // The timer's handler refers to this frame, so it must have run before we leave.
  timer.cancel();
  loop.restart();
  loop.poll();
  if (late || *done)
    throw Error(
        ErrorCode::unreachable,
        "cannot reach " + endpoint.to_string() + ": " +
            (late ? "no answer within " + std::to_string(deadline.count()) + " ms" : done->message()));
  return Socket(std::move(socket));
}

// Connecting to a Unix socket does not wait but for a full backlog, which counts as unreachable.
Socket connect_unix(Loop& loop, const Endpoint& endpoint) {
  const UnixPath path(endpoint.path);
  asio::local::stream_protocol::socket socket(loop);
  SystemError error;
  socket.open(asio::local::stream_protocol(), error);
  if (!error) socket.native_non_blocking(true, error);
  if (!error) socket.connect(asio::local::stream_protocol::endpoint(path.address()), error);
  if (error)
    throw Error(ErrorCode::unreachable, "cannot reach " + endpoint.to_string() + ": " + error.message());
  return Socket(std::move(socket));
}

}  // namespace

std::string Endpoint::to_string() const {
  if (transport == Transport::unix_socket) return std::string(kUnix) + path.string();
  const bool brackets = host.find(':') != std::string::npos;  // IPv6
  return std::string(encrypted ? kTls : kTcp) + (brackets ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Endpoint Endpoint::parse(std::string_view text) {
  Endpoint endpoint;
  if (text.starts_with(kUnix)) {
    endpoint.transport = Transport::unix_socket;
    endpoint.path = std::string(text.substr(kUnix.size()));
    if (!endpoint.path.is_absolute() || !endpoint.path.has_filename()) throw endpoint_error(text);
    return endpoint;
  }
  endpoint.encrypted = text.starts_with(kTls);
  if (!text.starts_with(kTcp) && !endpoint.encrypted) throw endpoint_error(text);
  const std::string_view rest = text.substr(kTcp.size());
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos) throw endpoint_error(text);
  std::string_view host = rest.substr(0, colon);
  const std::string_view port = rest.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  const auto [end, status] = std::from_chars(port.data(), port.data() + port.size(), endpoint.port);
  if (host.empty() || status != std::errc() || end != port.data() + port.size() || endpoint.port == 0)
    throw endpoint_error(text);
  endpoint.host = host;
  return endpoint;
}

Endpoint Endpoint::parse_listen(const std::string& text) {
  // Port 0 is no place to dial, so parse does not take it.
  const bool any_port = text.ends_with(":0");
  Endpoint endpoint = parse(std::string(kTcp) + (any_port ? text.substr(0, text.size() - 1) + "1" : text));
  if (any_port) endpoint.port = 0;
  return endpoint;
}

bool Endpoint::is_loopback() const { return host == "::1" || host.starts_with("127."); }

Socket connect(Loop& loop, const Endpoint& endpoint, std::chrono::milliseconds deadline) {
  if (endpoint.transport == Transport::unix_socket) return connect_unix(loop, endpoint);
  return connect_tcp(loop, endpoint, deadline);
}

}  // namespace quench::cluster
