#include "coordinator/http/server.h"

#include <netdb.h>
#include <sys/socket.h>

// Boost 1.74's coroutines use std::exchange without including it.
#include <utility>

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <optional>
#include <vector>

namespace quench::coordinator {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

using ErrorCodeOf = beast::error_code;
using PlainStream = beast::basic_stream<asio::generic::stream_protocol>;
using TlsStream = beast::ssl_stream<PlainStream>;

// Of a request that was refused early: what its client still sends is read for so long, so that it gets to read
// the answer before the connection is reset.
constexpr std::chrono::milliseconds kLingering{500};

HttpPeer peer_of(cluster::Socket& socket, cluster::Transport transport) {
  HttpPeer peer;
  if (transport == cluster::Transport::unix_socket) {
    ucred credentials{};
    socklen_t size = sizeof credentials;
    // Without credentials it is nobody, and gets in with a token only.
    peer.local = ::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0;
    peer.uid = credentials.uid;
    peer.address = "pid " + std::to_string(credentials.pid);
    return peer;
  }
  ErrorCodeOf ignored;
  const auto endpoint = socket.remote_endpoint(ignored);
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  if (!ignored && ::getnameinfo(endpoint.data(), static_cast<socklen_t>(endpoint.size()), host.data(), host.size(),
                                port.data(), port.size(), NI_NUMERICHOST | NI_NUMERICSERV) == 0)
    peer.address = std::string(host.data()) + ":" + port.data();
  return peer;
}

// The reply to a request that no handler saw; nothing when the connection is simply over.
std::optional<HttpReply> early_reply(const ErrorCodeOf& error, std::size_t body_bytes_max, const HttpLimits& limits) {
  if (error == http::error::body_limit)
    return problem_reply(413, "too_large", "the body is larger than " + std::to_string(body_bytes_max) + " bytes");
  if (error == http::error::header_limit || error == http::error::buffer_overflow)
    return problem_reply(431, "too_large", "the head is larger than " + std::to_string(limits.header_bytes_max) + " bytes");
  if (error == http::error::end_of_stream || error == http::error::partial_message) return std::nullopt;
  if (error.category() == http::make_error_code(http::error::end_of_stream).category())
    return problem_reply(400, "bad_request", "this is no HTTP request: " + error.message());
  return std::nullopt;
}

using RawRequest = http::request<http::string_body>;

// What no body has, whatever its route.
constexpr std::uint64_t kBodyBytesMax = std::uint64_t{1} << 40;

HttpRequest request_of(RawRequest& raw, const HttpPeer& peer) {
  HttpRequest request;
  request.method = std::string(raw.method_string());
  request.peer = peer;
  const auto text = [&](beast::string_view value) { return std::string(value); };
  request.authorization = text(raw[http::field::authorization]);
  request.content_type = text(raw[http::field::content_type]);
  request.last_event_id = text(raw["Last-Event-ID"]);
  parse_target(std::string_view(raw.target().data(), raw.target().size()), request);
  request.body = std::move(raw.body());
  return request;
}

// A reply that is awaited by a coroutine.
struct Awaited {
  explicit Awaited(cluster::Loop& loop) : timer(loop, asio::steady_timer::time_point::max()) {}
  std::optional<HttpReply> reply;
  asio::steady_timer timer;
};

}  // namespace

class HttpServer::State : public std::enable_shared_from_this<State> {
 public:
  State(cluster::Loop& loop, const HttpLimits& limits, Handler handler, BodyLimit body_limit)
      : loop_(loop), limits_(limits), handler_(std::move(handler)), body_limit_(std::move(body_limit)) {}

  void accept(cluster::Socket socket, cluster::Transport transport, const std::shared_ptr<asio::ssl::context>& tls) {
    // Beyond the bound a connection is closed unread: answering takes what there is too little of.
    if (connections_ >= limits_.connections_max) {
      ++rejected_;
      return;
    }
    const HttpPeer peer = peer_of(socket, transport);
    // Counted from here on: the coroutine begins only when the loop gets to it.
    auto counted = std::make_unique<Counted>(shared_from_this());
    if (tls) {
      asio::co_spawn(loop_, serve_tls(std::move(counted), tls, std::move(socket), peer), asio::detached);
    } else {
      asio::co_spawn(loop_, serve(std::move(counted), std::move(socket), peer), asio::detached);
    }
  }

  void stop() {
    stopped_ = true;
    listeners_.clear();
    for (const auto& timer : event_timers_)
      if (const auto alive = timer.lock()) alive->cancel();
  }

  cluster::Loop& loop_;
  HttpLimits limits_;
  Handler handler_;
  BodyLimit body_limit_;
  std::vector<cluster::Listener> listeners_;
  std::size_t connections_ = 0;
  std::uint64_t requests_ = 0;
  std::uint64_t rejected_ = 0;
  bool stopped_ = false;

 private:
  // A connection counts for as long as its coroutine lives, and keeps the state.
  struct Counted {
    explicit Counted(std::shared_ptr<State> counting) : state(std::move(counting)) { ++state->connections_; }
    ~Counted() { --state->connections_; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    std::shared_ptr<State> state;
  };

  static asio::awaitable<void> serve(std::unique_ptr<Counted> counted, cluster::Socket socket, HttpPeer peer) {
    PlainStream stream(std::move(socket));
    co_await counted->state->converse(stream, peer);
  }

  static asio::awaitable<void> serve_tls(std::unique_ptr<Counted> counted, std::shared_ptr<asio::ssl::context> tls,
                                         cluster::Socket socket, HttpPeer peer) {
    const std::shared_ptr<State> self = counted->state;
    TlsStream stream(PlainStream(std::move(socket)), *tls);
    ErrorCodeOf error;
    stream.next_layer().expires_after(self->limits_.request_ms_max);
    co_await stream.async_handshake(asio::ssl::stream_base::server, asio::redirect_error(asio::use_awaitable, error));
    if (error) {
      ++self->rejected_;
      co_return;
    }
    co_await self->converse(stream, peer);
    stream.next_layer().expires_after(kLingering);
    co_await stream.async_shutdown(asio::redirect_error(asio::use_awaitable, error));
  }

  template <typename Stream>
  asio::awaitable<void> converse(Stream& stream, const HttpPeer& peer) {
    beast::flat_buffer buffer(limits_.header_bytes_max + (64u << 10));
    while (!stopped_) {
      http::request_parser<http::string_body> parser;
      parser.header_limit(static_cast<std::uint32_t>(limits_.header_bytes_max));
      parser.body_limit(limits_.body_bytes_max);
      ErrorCodeOf error;
      beast::get_lowest_layer(stream).expires_after(limits_.request_ms_max);
      std::size_t body_bytes_max = limits_.body_bytes_max;
      // With a larger limit than the head alone may take, so that one that is over it is answered and not cut off.
      if (body_limit_) parser.body_limit(kBodyBytesMax);
      co_await http::async_read_header(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
      if (!error) {
        if (body_limit_) body_bytes_max = limit_of(parser.get(), peer);
        const auto length = parser.content_length();
        if (length && *length > body_bytes_max) error = http::error::body_limit;
        parser.body_limit(body_bytes_max);
        if (body_bytes_max > limits_.body_bytes_max) beast::get_lowest_layer(stream).expires_after(limits_.large_body_ms_max);
      }
      if (!error) co_await http::async_read(stream, buffer, parser, asio::redirect_error(asio::use_awaitable, error));
      if (error) {
        const std::optional<HttpReply> reply = early_reply(error, body_bytes_max, limits_);
        if (!reply) co_return;
        ++rejected_;
        if (co_await write(stream, *reply, 11, false, false)) co_await linger(stream);
        co_return;
      }
      RawRequest raw = parser.release();
      const bool keep = raw.keep_alive() && !stopped_;
      const bool head = raw.method() == http::verb::head;
      if (head) raw.method(http::verb::get);
      ++requests_;
      const unsigned version = raw.version();
      HttpReply reply = co_await handled(raw, peer);
      if (reply.feed && !head) {
        co_await stream_events(stream, *reply.feed);
        co_return;
      }
      if (!co_await write(stream, reply, version, keep, head) || !keep) co_return;
    }
  }

  std::size_t limit_of(const RawRequest& raw, const HttpPeer& peer) const {
    try {
      RawRequest head(raw.base());
      return body_limit_(request_of(head, peer));
    } catch (const Error&) {
      return limits_.body_bytes_max;  // the handler tells what is wrong with it
    }
  }

  asio::awaitable<HttpReply> handled(RawRequest& raw, const HttpPeer& peer) {
    const auto awaited = std::make_shared<Awaited>(loop_);
    try {
      handler_(request_of(raw, peer), [awaited](HttpReply reply) {
        awaited->reply = std::move(reply);
        awaited->timer.cancel();
      });
    } catch (const Error& error) {
      awaited->reply = problem_reply(error);
    }
    ErrorCodeOf ignored;
    while (!awaited->reply)
      co_await awaited->timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    co_return std::move(*awaited->reply);
  }

  template <typename Stream>
  asio::awaitable<bool> write(Stream& stream, const HttpReply& reply, unsigned version, bool keep, bool head) {
    http::response<http::string_body> response{http::int_to_status(reply.status), version};
    response.result(reply.status);
    response.set(http::field::server, "quench");
    response.set(http::field::content_type, reply.content_type);
    response.set("X-Content-Type-Options", "nosniff");
    response.set(http::field::cache_control, "no-store");
    for (const auto& [name, value] : reply.headers) response.set(name, value);
    response.keep_alive(keep);
    response.body() = reply.body;
    response.prepare_payload();
    http::response_serializer<http::string_body> serializer(response);
    ErrorCodeOf error;
    beast::get_lowest_layer(stream).expires_after(limits_.write_ms_max);
    if (head) {
      co_await http::async_write_header(stream, serializer, asio::redirect_error(asio::use_awaitable, error));
    } else {
      co_await http::async_write(stream, serializer, asio::redirect_error(asio::use_awaitable, error));
    }
    co_return !error;
  }

  template <typename Stream>
  asio::awaitable<void> linger(Stream& stream) {
    ErrorCodeOf error;
    beast::get_lowest_layer(stream).socket().shutdown(asio::socket_base::shutdown_send, error);
    beast::get_lowest_layer(stream).expires_after(kLingering);
    std::array<char, 16384> discarded{};
    while (!error)
      co_await beast::get_lowest_layer(stream).async_read_some(asio::buffer(discarded),
                                                               asio::redirect_error(asio::use_awaitable, error));
  }

  // Until the client leaves or cannot keep up with a single write.
  template <typename Stream>
  asio::awaitable<void> stream_events(Stream& stream, EventFeed& feed) {
    std::string text =
        "HTTP/1.1 200 OK\r\nServer: quench\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
        "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n";
    const auto timer = std::make_shared<asio::steady_timer>(loop_);
    std::erase_if(event_timers_, [](const auto& one) { return one.expired(); });
    event_timers_.push_back(timer);
    while (!stopped_) {
      text += feed.take();
      ErrorCodeOf error;
      if (text.empty()) {
        timer->expires_after(limits_.event_pause);
        feed.wait([weak = std::weak_ptr(timer)] {
          if (const auto alive = weak.lock()) alive->cancel();
        });
        co_await timer->async_wait(asio::redirect_error(asio::use_awaitable, error));
        if (!error) text = ": nothing new\n\n";
        continue;
      }
      beast::get_lowest_layer(stream).expires_after(limits_.write_ms_max);
      co_await asio::async_write(stream, asio::buffer(text), asio::redirect_error(asio::use_awaitable, error));
      if (error) co_return;
      text.clear();
    }
  }

  std::vector<std::weak_ptr<asio::steady_timer>> event_timers_;
};

HttpServer::HttpServer(cluster::Loop& loop, const HttpLimits& limits, Handler handler, BodyLimit body_limit)
    : state_(std::make_shared<State>(loop, limits, std::move(handler), std::move(body_limit))) {}
HttpServer::~HttpServer() { stop(); }

const cluster::Endpoint& HttpServer::listen_tcp(const std::string& address, std::uint16_t port,
                                                const cluster::TlsFiles* tls) {
  const std::shared_ptr<cluster::TlsContext> context = tls != nullptr ? cluster::server_tls(*tls) : nullptr;
  state_->listeners_.push_back(cluster::Listener::tcp(
      state_->loop_, address, port,
      [state = std::weak_ptr(state_), context](cluster::Socket socket, cluster::Transport transport) {
        if (const auto alive = state.lock()) alive->accept(std::move(socket), transport, context);
      }));
  return state_->listeners_.back().endpoint();
}

void HttpServer::listen_unix(const std::filesystem::path& path, cluster::UnixPeers peers) {
  state_->listeners_.push_back(cluster::Listener::unix_socket(
      state_->loop_, path,
      [state = std::weak_ptr(state_)](cluster::Socket socket, cluster::Transport transport) {
        if (const auto alive = state.lock()) alive->accept(std::move(socket), transport, nullptr);
      },
      peers));
}

void HttpServer::stop() { state_->stop(); }

std::size_t HttpServer::connections() const { return state_->connections_; }
std::uint64_t HttpServer::requests() const { return state_->requests_; }
std::uint64_t HttpServer::rejected() const { return state_->rejected_; }

}  // namespace quench::coordinator
