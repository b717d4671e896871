// Encryption of what leaves the host: one certificate, the service's, for HTTP and for workers. Any thread.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace boost::asio::ssl {
class context;
}

namespace quench::cluster {

using TlsContext = boost::asio::ssl::context;
enum class TlsSide { server, client };

struct TlsFiles {
  std::filesystem::path certificate;  // PEM, the chain
  std::filesystem::path key;          // PEM
};

// TLS 1.2 or later. Throws Error(bad_input) naming the file that does not serve.
std::shared_ptr<TlsContext> server_tls(const TlsFiles& files);
// Of the chain, the certificate itself (PEM): what workers are given to know the service by. Throws as server_tls does.
std::string own_certificate(const TlsFiles& files);
// Trusts the holder of this very certificate, whatever name it was reached by. Throws Error(bad_input).
std::shared_ptr<TlsContext> client_tls(const std::filesystem::path& certificate);

}  // namespace quench::cluster
