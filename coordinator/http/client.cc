#include "coordinator/http/client.h"

// Boost 1.74's coroutines use std::exchange without including it.
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <exception>
#include <optional>

#include "cluster/net/socket.h"
#include "cluster/net/unix_path.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;

using PlainStream = beast::basic_stream<asio::generic::stream_protocol>;
using TlsStream = beast::ssl_stream<PlainStream>;
using asio::use_awaitable;

// A service says something at least this often; one that does not has gone without closing.
constexpr std::chrono::seconds kSilenceMax{40};
constexpr std::size_t kAnswerBytesMax = 256u << 20;
constexpr std::size_t kEventBytesMax = 16u << 20;

struct Request {
  std::string method;
  std::string target;
  std::string body;
  std::string last_id;
};

http::request<http::string_body> raw_request(const ServiceAddress& service, const Request& asked) {
  http::request<http::string_body> request{http::string_to_verb(asked.method), asked.target, 11};
  request.set(http::field::host, service.kind == ServiceAddress::Kind::unix_socket ? "localhost" : service.host);
  request.set(http::field::connection, "close");
  if (!service.token.empty()) request.set(http::field::authorization, "Bearer " + service.token);
  if (!asked.last_id.empty()) request.set("Last-Event-ID", asked.last_id);
  if (!asked.body.empty()) request.set(http::field::content_type, "application/json");
  request.body() = asked.body;
  request.prepare_payload();
  return request;
}

// Takes whole events off the front of `text`.
std::optional<StreamedEvent> take_event(std::string& text) {
  const std::size_t end = text.find("\n\n");
  if (end == std::string::npos) return std::nullopt;
  StreamedEvent event;
  std::size_t at = 0;
  while (at < end) {
    const std::size_t line_end = std::min(text.find('\n', at), end);
    const std::string line = text.substr(at, line_end - at);
    const std::size_t colon = line.find(": ");
    if (colon != std::string::npos && colon > 0) {
      const std::string name = line.substr(0, colon), value = line.substr(colon + 2);
      if (name == "id") event.id = value;
      if (name == "event") event.type = value;
      if (name == "data") event.data += value;
    }
    at = line_end + 1;
  }
  text.erase(0, end + 2);
  return event;
}

// One exchange on a connected stream.
template <typename Stream>
class Exchange {
 public:
  Exchange(Stream& stream, const ServiceAddress& service, const Request& request, std::chrono::seconds deadline)
      : stream_(stream), request_(raw_request(service, request)), deadline_(deadline) {}

  asio::awaitable<HttpAnswer> answer() {
    co_await head();
    co_await http::async_read(stream_, buffer_, parser_, use_awaitable);
    co_return take_answer();
  }

  asio::awaitable<bool> events(const std::function<bool(const StreamedEvent&)>& on_event, HttpAnswer& refusal) {
    co_await head();
    if (parser_.get().result() != http::status::ok) {
      co_await http::async_read(stream_, buffer_, parser_, use_awaitable);
      refusal = take_answer();
      co_return false;
    }
    std::string text = beast::buffers_to_string(buffer_.data());
    std::string piece(64u << 10, '\0');
    while (true) {
      while (const std::optional<StreamedEvent> event = take_event(text))
        if (!event->type.empty() && !on_event(*event)) co_return true;
      if (text.size() > kEventBytesMax) throw Error(ErrorCode::corrupt, "the service sent an event without an end");
      beast::get_lowest_layer(stream_).expires_after(kSilenceMax);
      beast::error_code error;
      const std::size_t bytes = co_await stream_.async_read_some(asio::buffer(piece), asio::redirect_error(use_awaitable, error));
      if (error) co_return false;
      text.append(piece, 0, bytes);
    }
  }

 private:
  asio::awaitable<void> head() {
    beast::get_lowest_layer(stream_).expires_after(deadline_);
    parser_.body_limit(kAnswerBytesMax);
    co_await http::async_write(stream_, request_, use_awaitable);
    co_await http::async_read_header(stream_, buffer_, parser_, use_awaitable);
  }

  HttpAnswer take_answer() {
    auto& message = parser_.get();
    return {message.result_int(), std::move(message.body()), std::string(message["Quench-Log-Next"])};
  }

  Stream& stream_;
  http::request<http::string_body> request_;
  std::chrono::seconds deadline_;
  http::response_parser<http::string_body> parser_;
  beast::flat_buffer buffer_;
};

// From connecting to having connected, for each address.
constexpr std::chrono::seconds kConnectMax{10};

asio::awaitable<PlainStream> connected(cluster::Loop& loop, const ServiceAddress& service) {
  if (service.kind == ServiceAddress::Kind::unix_socket) {
    const cluster::UnixPath path(service.socket);
    PlainStream stream(loop);
    stream.expires_after(kConnectMax);
    co_await stream.async_connect(asio::local::stream_protocol::endpoint(path.address()), use_awaitable);
    co_return std::move(stream);
  }
  asio::ip::tcp::resolver resolver(loop);
  const auto found = co_await resolver.async_resolve(service.host, service.port, use_awaitable);
  beast::error_code error = asio::error::host_not_found;
  for (const auto& entry : found) {
    PlainStream stream(loop);
    stream.expires_after(kConnectMax);
    co_await stream.async_connect(asio::generic::stream_protocol::endpoint(entry.endpoint()),
                                  asio::redirect_error(use_awaitable, error));
    if (!error) co_return std::move(stream);
  }
  throw boost::system::system_error(error);
}

asio::ssl::context tls_context(const ServiceAddress& service) {
  asio::ssl::context context(asio::ssl::context::tls_client);
  context.set_verify_mode(asio::ssl::verify_peer);
  beast::error_code error;
  if (service.authorities.empty()) {
    context.set_default_verify_paths(error);
  } else {
    context.load_verify_file(service.authorities.string(), error);
  }
  if (error)
    throw Error(ErrorCode::bad_input, "cannot read certificates from " + service.authorities.string() + ": " +
                                          error.message() + " (QUENCH_CA_FILE names a PEM file)");
  return context;
}

// Connects, and runs `talk` on an Exchange.
template <typename Talk>
asio::awaitable<void> converse(cluster::Loop& loop, const ServiceAddress& service, const Request& request,
                               std::chrono::seconds deadline, Talk talk) {
  PlainStream plain = co_await connected(loop, service);
  if (service.kind != ServiceAddress::Kind::tls) {
    Exchange exchange(plain, service, request, deadline);
    co_await talk(exchange);
    co_return;
  }
  asio::ssl::context context = tls_context(service);
  TlsStream stream(std::move(plain), context);
  if (SSL_set_tlsext_host_name(stream.native_handle(), service.host.c_str()) != 1)
    throw Error(ErrorCode::bad_input, service.host + " is no name for a TLS server");
  stream.set_verify_callback(asio::ssl::host_name_verification(service.host));
  co_await stream.async_handshake(asio::ssl::stream_base::client, use_awaitable);
  Exchange exchange(stream, service, request, deadline);
  co_await talk(exchange);
}

template <typename Talk>
void run_exchange(const ServiceAddress& service, const Request& request, std::chrono::seconds deadline, Talk talk) {
  cluster::Loop loop;
  std::exception_ptr failure;
  asio::co_spawn(loop, converse(loop, service, request, deadline, talk),
                 [&](std::exception_ptr thrown) { failure = thrown; });
  loop.run();
  if (!failure) return;
  try {
    std::rethrow_exception(failure);
  } catch (const boost::system::system_error& error) {
    throw Error(ErrorCode::unreachable, "cannot talk to the service at " + service.to_string() + ": " +
                                            error.code().message() +
                                            "; is `quench serve` running? (QUENCH_URL or --store names it)");
  }
}

}  // namespace

std::string ServiceAddress::to_string() const {
  if (kind == Kind::unix_socket) return "unix://" + socket.string();
  return (kind == Kind::tls ? "https://" : "http://") + host + ":" + port;
}

ServiceAddress ServiceAddress::parse(std::string_view url) {
  ServiceAddress address;
  const auto wrong = [&] {
    return Error(ErrorCode::bad_input, "\"" + std::string(url) +
                                           "\" is no address of a service: expected unix:///PATH, https://HOST[:PORT] or "
                                           "http://HOST:PORT");
  };
  if (url.starts_with("unix://")) {
    address.socket = std::string(url.substr(7));
    if (!address.socket.is_absolute()) throw wrong();
    return address;
  }
  const bool tls = url.starts_with("https://");
  if (!tls && !url.starts_with("http://")) throw wrong();
  std::string_view rest = url.substr(tls ? 8 : 7);
  if (rest.ends_with('/')) rest.remove_suffix(1);
  address.kind = tls ? Kind::tls : Kind::plain;
  std::size_t colon = rest.rfind(':');
  if (rest.starts_with('[') && rest.ends_with(']')) colon = std::string_view::npos;
  address.host = std::string(rest.substr(0, colon));
  address.port = colon == std::string_view::npos ? (tls ? "443" : "80") : std::string(rest.substr(colon + 1));
  if (address.host.starts_with('[') && address.host.ends_with(']'))
    address.host = address.host.substr(1, address.host.size() - 2);
  if (address.host.empty() || address.host.find_first_of("/?#@ ") != std::string::npos || address.port.empty() ||
      address.port.find_first_not_of("0123456789") != std::string::npos)
    throw wrong();
  return address;
}

HttpAnswer http_request(const ServiceAddress& service, const std::string& method, const std::string& target,
                        const std::string& body, std::chrono::seconds deadline) {
  HttpAnswer answer;
  run_exchange(service, {method, target, body, {}}, deadline,
               [&](auto& exchange) -> asio::awaitable<void> { answer = co_await exchange.answer(); });
  return answer;
}

bool http_events(const ServiceAddress& service, const std::string& target, const std::string& last_id,
                 const std::function<bool(const StreamedEvent&)>& on_event, HttpAnswer& refusal) {
  bool ended = false;
  run_exchange(service, {"GET", target, {}, last_id}, kSilenceMax, [&](auto& exchange) -> asio::awaitable<void> {
    ended = co_await exchange.events(on_event, refusal);
  });
  return ended;
}

}  // namespace quench::coordinator
