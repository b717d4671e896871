#include "schemas/endpoint_url.h"

#include <algorithm>
#include <cctype>
#include <charconv>

#include "schemas/error.h"

namespace quench {
namespace {

constexpr std::string_view kHttp = "http://";
constexpr std::string_view kHttps = "https://";
constexpr std::size_t kUrlBytesMax = 2048;

[[noreturn]] void refuse(std::string_view text, const std::string& fault) {
  throw Error(ErrorCode::bad_input, "endpoint \"" + std::string(text.substr(0, 200)) + "\": " + fault +
                                        "; expected http://HOST[:PORT][/PATH] or https://…, such as "
                                        "http://localhost:8000/v1");
}

std::uint16_t port_of(bool tls) { return tls ? 443 : 80; }

bool is_plain(char c) { return c > ' ' && c < 0x7f && c != '"' && c != '<' && c != '>' && c != '\\'; }

}  // namespace

bool is_endpoint(std::string_view model) { return model.starts_with(kHttp) || model.starts_with(kHttps); }

EndpointUrl parse_endpoint_url(std::string_view text) {
  if (!is_endpoint(text)) refuse(text, "no http:// or https:// at its beginning");
  if (text.size() > kUrlBytesMax) refuse(text, "longer than " + std::to_string(kUrlBytesMax) + " bytes");
  if (!std::all_of(text.begin(), text.end(), is_plain)) refuse(text, "white space or a character that no URL has");
  EndpointUrl url;
  url.tls = text.starts_with(kHttps);
  std::string_view rest = text.substr(url.tls ? kHttps.size() : kHttp.size());
  if (rest.find_first_of("?#") != std::string_view::npos) refuse(text, "a query or a fragment");
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  std::string_view authority = rest.substr(0, slash);
  std::string_view path = rest.substr(slash);
  while (path.ends_with('/')) path.remove_suffix(1);
  if (authority.find('@') != std::string_view::npos)
    throw Error(ErrorCode::bad_input,
                "the endpoint's URL holds a user name or a password: put the key into the environment "
                "variable that \"apiKeyVariable\" names (default QUENCH_ENDPOINT_KEY)");

  std::string_view port;
  if (authority.starts_with('[')) {
    const std::size_t end = authority.find(']');
    if (end == std::string_view::npos) refuse(text, "a [ without its ]");
    url.host = authority.substr(1, end - 1);
    port = authority.substr(end + 1);
  } else {
    const std::size_t colon = std::min(authority.find(':'), authority.size());
    url.host = authority.substr(0, colon);
    port = authority.substr(colon);
  }
  if (url.host.empty()) refuse(text, "no host");
  std::transform(url.host.begin(), url.host.end(), url.host.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  url.port = port_of(url.tls);
  if (!port.empty()) {
    const auto [end, status] = std::from_chars(port.data() + 1, port.data() + port.size(), url.port);
    if (port[0] != ':' || status != std::errc() || end != port.data() + port.size() || url.port == 0)
      refuse(text, "a port that is no number from 1 to 65535");
  }
  url.path = path;
  return url;
}

std::string EndpointUrl::authority() const {
  const bool brackets = host.find(':') != std::string::npos;  // IPv6
  const std::string name = brackets ? "[" + host + "]" : host;
  return port == port_of(tls) ? name : name + ":" + std::to_string(port);
}

std::string EndpointUrl::to_string() const {
  return std::string(tls ? kHttps : kHttp) + authority() + path;
}

Digest endpoint_source_digest(const EndpointUrl& url, std::string_view model_name) {
  const std::string text = url.to_string();
  Hasher hasher;
  hasher.update("quench endpoint 1;");
  hasher.update_u64(text.size()).update(text);
  hasher.update_u64(model_name.size()).update(model_name);
  return hasher.finish();
}

}  // namespace quench
