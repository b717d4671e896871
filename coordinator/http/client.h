// The service's HTTP interface from the other side: what `quench submit`, `status` and the others speak. One thread;
// each call runs until it is answered or its deadline has passed.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace quench::coordinator {

// Where a service is, and who asks.
struct ServiceAddress {
  enum class Kind { unix_socket, plain, tls };
  Kind kind = Kind::unix_socket;
  std::filesystem::path socket;
  std::string host;
  std::string port;
  std::string token;                  // empty: none
  std::filesystem::path authorities;  // PEM; empty: the system's

  std::string to_string() const;
  // "unix:///path", "http://HOST:PORT", "https://HOST[:PORT]". Throws Error(bad_input).
  static ServiceAddress parse(std::string_view url);
};

struct HttpAnswer {
  unsigned status = 0;
  std::string body;
  std::string log_next;  // the header Quench-Log-Next
};

// Throws Error(unreachable) naming the address when nobody answers in time.
HttpAnswer http_request(const ServiceAddress& service, const std::string& method, const std::string& target,
                        const std::string& body = {}, std::chrono::seconds deadline = std::chrono::seconds(120));

struct StreamedEvent {
  std::string id;
  std::string type;
  std::string data;
};
// Reads a stream of events until `on_event` returns false (then true is returned), or the stream ends (false). A reply
// that is no stream is handed back in `refusal`.
bool http_events(const ServiceAddress& service, const std::string& target, const std::string& last_id,
                 const std::function<bool(const StreamedEvent&)>& on_event, HttpAnswer& refusal);

}  // namespace quench::coordinator
