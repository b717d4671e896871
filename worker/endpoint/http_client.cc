#include "worker/endpoint/http_client.h"

#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>

#include "schemas/error.h"

namespace quench::worker {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using SystemError = boost::system::error_code;

// Runs one asynchronous operation to its end; the stream's own deadline bounds it.
template <typename Start>
SystemError run(asio::io_context& io, Start start) {
  std::optional<SystemError> done;
  start([&done](const SystemError& error, const auto&...) { done = error; });
  io.restart();
  io.run();
  return done.value_or(asio::error::operation_aborted);
}

Error failure(const EndpointUrl& url, const char* doing, const SystemError& error, const HttpLimits& limits) {
  const std::string where = url.to_string() + ": " + doing + ": ";
  if (error == beast::error::timeout)
    return Error(ErrorCode::timed_out,
                 where + "not done within " + std::to_string(limits.timeout.count() / 1000) + " s");
  if (error == http::error::body_limit)
    return Error(ErrorCode::corrupt,
                 where + "the answer is longer than " + std::to_string(limits.body_bytes_max) + " bytes");
  if (error == http::error::partial_message || error == http::error::end_of_stream ||
      error == asio::ssl::error::stream_truncated)
    return Error(ErrorCode::corrupt, where + "the connection ended before the answer did");
  if (error.category() == http::make_error_code(http::error::bad_version).category())
    return Error(ErrorCode::corrupt, where + "the answer is no HTTP: " + error.message());
  return Error(ErrorCode::unreachable, where + error.message());
}

class Exchange {
 public:
  Exchange(const EndpointUrl& url, const HttpLimits& limits) : url_(url), limits_(limits) {}

  HttpReply run(const std::string& path, const std::vector<std::pair<std::string, std::string>>& headers,
                const std::string& body) {
    http::request<http::string_body> request{http::verb::post, url_.path + path, 11};
    request.set(http::field::host, url_.authority());
    request.set(http::field::user_agent, "quench");
    request.set(http::field::content_type, "application/json");
    request.set(http::field::accept, "application/json");
    request.set(http::field::connection, "close");
    for (const auto& [name, value] : headers) request.set(name, value);
    request.body() = body;
    request.prepare_payload();
    if (!url_.tls) {
      beast::tcp_stream stream(io_);
      connect(stream);
      return talk(stream, request);
    }
    asio::ssl::context context(asio::ssl::context::tls_client);
    context.set_default_verify_paths();
    beast::ssl_stream<beast::tcp_stream> stream(io_, context);
    stream.set_verify_mode(asio::ssl::verify_peer);
    stream.set_verify_callback(asio::ssl::host_name_verification(url_.host));
    if (SSL_set_tlsext_host_name(stream.native_handle(), url_.host.c_str()) != 1)
      throw Error(ErrorCode::unreachable, url_.to_string() + ": not a host name that TLS can ask for");
    connect(stream.next_layer());
    check("TLS", worker::run(io_, [&](auto handler) {
            stream.async_handshake(asio::ssl::stream_base::client, std::move(handler));
          }));
    return talk(stream, request);
  }

 private:
  void check(const char* doing, const SystemError& error) const {
    if (error) throw failure(url_, doing, error, limits_);
  }

  void connect(beast::tcp_stream& stream) {
    SystemError error;
    asio::ip::tcp::resolver resolver(io_);
    const auto found = resolver.resolve(url_.host, std::to_string(url_.port),
                                        asio::ip::resolver_base::numeric_service, error);
    check("looking up the host", error);
    // One deadline for everything that follows.
    stream.expires_after(limits_.timeout);
    check("connecting", worker::run(io_, [&](auto handler) { stream.async_connect(found, std::move(handler)); }));
  }

  template <typename Stream>
  HttpReply talk(Stream& stream, http::request<http::string_body>& request) {
    // A server may answer, and close, before it has read everything: the answer says why.
    const SystemError sent =
        worker::run(io_, [&](auto handler) { http::async_write(stream, request, std::move(handler)); });
    if (sent == beast::error::timeout) check("sending", sent);
    http::response_parser<http::string_body> parser;
    parser.body_limit(limits_.body_bytes_max);
    beast::flat_buffer buffer;
    const SystemError received =
        worker::run(io_, [&](auto handler) { http::async_read(stream, buffer, parser, std::move(handler)); });
    if (received && sent) check("sending", sent);
    check("waiting for the answer", received);
    HttpReply reply;
    reply.status = static_cast<int>(parser.get().result_int());
    if (const auto found = parser.get().find(http::field::retry_after); found != parser.get().end())
      reply.retry_after = std::string(found->value());
    reply.body = std::move(parser.get().body());
    return reply;
  }

  const EndpointUrl& url_;
  const HttpLimits& limits_;
  asio::io_context io_{1};
};

}  // namespace

HttpReply post_json(const EndpointUrl& url, const std::string& path,
                    const std::vector<std::pair<std::string, std::string>>& headers, const std::string& body,
                    const HttpLimits& limits) {
  return Exchange(url, limits).run(path, headers, body);
}

}  // namespace quench::worker
