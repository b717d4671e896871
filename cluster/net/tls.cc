#include "cluster/net/tls.h"

#include <boost/asio/ssl/context.hpp>
#include <fstream>
#include <iterator>

#include "schemas/error.h"

namespace quench::cluster {
namespace ssl = boost::asio::ssl;

std::shared_ptr<TlsContext> server_tls(const TlsFiles& files) {
  const auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  boost::system::error_code error;
  context->set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 | ssl::context::no_sslv3 |
                           ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1 | ssl::context::single_dh_use,
                       error);
  context->use_certificate_chain_file(files.certificate.string(), error);
  if (error)
    throw Error(ErrorCode::bad_input, "tlsCertificate " + files.certificate.string() +
                                          " holds no PEM certificate chain: " + error.message());
  context->use_private_key_file(files.key.string(), ssl::context::pem, error);
  if (error)
    throw Error(ErrorCode::bad_input, "tlsKey " + files.key.string() +
                                          " holds no PEM key of that certificate: " + error.message());
  return context;
}

std::string own_certificate(const TlsFiles& files) {
  constexpr std::string_view kBegin = "-----BEGIN CERTIFICATE-----";
  constexpr std::string_view kEnd = "-----END CERTIFICATE-----";
  std::ifstream in(files.certificate, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(in), {});
  const std::size_t begin = text.find(kBegin);
  const std::size_t end = text.find(kEnd, begin);
  if (begin == std::string::npos || end == std::string::npos)
    throw Error(ErrorCode::bad_input, "tlsCertificate " + files.certificate.string() + " holds no PEM certificate");
  return text.substr(begin, end + kEnd.size() - begin) + "\n";
}

std::shared_ptr<TlsContext> client_tls(const std::filesystem::path& certificate) {
  const auto context = std::make_shared<ssl::context>(ssl::context::tls_client);
  boost::system::error_code error;
  context->set_options(ssl::context::default_workarounds | ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1, error);
  context->set_verify_mode(ssl::verify_peer, error);
  if (!error) context->load_verify_file(certificate.string(), error);
  if (error)
    throw Error(ErrorCode::bad_input, "cannot read the service's certificate " + certificate.string() + ": " + error.message() +
                                          "; copy it from where the secret lies");
  // The certificate is the anchor itself, whoever issued it.
  X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context->native_handle()), X509_V_FLAG_PARTIAL_CHAIN);
  return context;
}

}  // namespace quench::cluster
