#include "coordinator/trust/keys.h"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "schemas/digest.h"
#include "schemas/error.h"
#include "schemas/small_file.h"

namespace quench::coordinator {
namespace {

constexpr std::uint64_t kKeyFileBytesMax = 16 << 10;

struct KeyDeleter {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Key = std::unique_ptr<EVP_PKEY, KeyDeleter>;
struct BioDeleter {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using Bio = std::unique_ptr<BIO, BioDeleter>;
struct ContextDeleter {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_MD_CTX, ContextDeleter>;

const unsigned char* raw(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }

Bio reader(std::string_view text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

std::string contents(BIO* bio) {
  char* data = nullptr;
  const long length = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(length)};
}

void require_ed25519(const EVP_PKEY* key, const std::string& origin) {
  if (EVP_PKEY_get_id(key) == EVP_PKEY_ED25519) return;
  const char* kind = EVP_PKEY_get0_type_name(key);
  throw Error(ErrorCode::bad_input, origin + " is a key of the kind " + (kind ? kind : "unknown") +
                                        "; expected Ed25519: `quench artifacts key new` or `openssl genpkey -algorithm "
                                        "ed25519` makes one");
}

// A key file may not ask on the terminal for a passphrase.
int no_passphrase(char*, int, int, void*) { return 0; }

}  // namespace

std::string PublicKey::pem() const {
  const Key key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytes.data(), bytes.size()));
  const Bio out(BIO_new(BIO_s_mem()));
  QUENCH_CHECK(key && PEM_write_bio_PUBKEY(out.get(), key.get()) == 1);
  return contents(out.get());
}

std::string PublicKey::id() const {
  const Key key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytes.data(), bytes.size()));
  const Bio out(BIO_new(BIO_s_mem()));
  QUENCH_CHECK(key && i2d_PUBKEY_bio(out.get(), key.get()) == 1);
  return sha256(contents(out.get())).hex();
}

PublicKey PublicKey::from_pem(std::string_view text, const std::string& origin) {
  if (text.find("PRIVATE KEY") != std::string_view::npos)
    throw Error(ErrorCode::bad_input, origin + " is a private key: keep it to yourself, and give the public one (.pub)");
  const Bio in = reader(text);
  const Key key(PEM_read_bio_PUBKEY(in.get(), nullptr, no_passphrase, nullptr));
  if (!key) throw Error(ErrorCode::bad_input, origin + " is no public key: expected a PEM file, \"BEGIN PUBLIC KEY\"");
  require_ed25519(key.get(), origin);
  PublicKey result;
  std::size_t length = result.bytes.size();
  QUENCH_CHECK(EVP_PKEY_get_raw_public_key(key.get(), result.bytes.data(), &length) == 1 && length == 32);
  return result;
}

bool PublicKey::verifies(std::string_view message, std::string_view signature) const {
  const Key key(EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, bytes.data(), bytes.size()));
  const Context context(EVP_MD_CTX_new());
  return key && context && EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
         EVP_DigestVerify(context.get(), raw(signature), signature.size(), raw(message), message.size()) == 1;
}

struct SigningKey::Handle {
  Key key;
};

SigningKey::SigningKey(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
SigningKey::SigningKey(SigningKey&&) noexcept = default;
SigningKey::~SigningKey() = default;

SigningKey SigningKey::generate() {
  auto handle = std::make_unique<Handle>();
  handle->key.reset(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  QUENCH_CHECK(handle->key != nullptr);
  return SigningKey(std::move(handle));
}

SigningKey SigningKey::read(const std::filesystem::path& file) {
  struct stat status;
  if (::stat(file.c_str(), &status) != 0)
    throw errno_error(ErrorCode::bad_input, "cannot read the signing key " + file.string(), errno);
  if ((status.st_mode & 077) != 0)
    throw Error(ErrorCode::bad_input, "the signing key " + file.string() + " may be read by others: chmod 600 it");
  const std::string text = read_small_file(file, kKeyFileBytesMax);
  const Bio in = reader(text);
  auto handle = std::make_unique<Handle>();
  handle->key.reset(PEM_read_bio_PrivateKey(in.get(), nullptr, no_passphrase, nullptr));
  if (!handle->key)
    throw Error(ErrorCode::bad_input,
                file.string() + " is no private key without a passphrase: expected a PEM file, \"BEGIN PRIVATE KEY\"");
  require_ed25519(handle->key.get(), file.string());
  return SigningKey(std::move(handle));
}

PublicKey SigningKey::public_key() const {
  PublicKey result;
  std::size_t length = result.bytes.size();
  QUENCH_CHECK(EVP_PKEY_get_raw_public_key(handle_->key.get(), result.bytes.data(), &length) == 1);
  return result;
}

std::string SigningKey::sign(std::string_view message) const {
  const Context context(EVP_MD_CTX_new());
  std::string signature(64, '\0');
  std::size_t length = signature.size();
  QUENCH_CHECK(context && EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, handle_->key.get()) == 1 &&
               EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &length, raw(message),
                              message.size()) == 1);
  return signature;
}

void SigningKey::write(const std::filesystem::path& file) const {
  const Bio out(BIO_new(BIO_s_mem()));
  QUENCH_CHECK(PEM_write_bio_PrivateKey(out.get(), handle_->key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1);
  const std::string text = contents(out.get());
  const int descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (descriptor < 0) throw errno_error(ErrorCode::bad_input, "cannot make the key file " + file.string(), errno);
  const bool written = ::write(descriptor, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fsync(descriptor) == 0;
  const int failure = errno;
  ::close(descriptor);
  if (written) return;
  ::unlink(file.c_str());
  throw errno_error(ErrorCode::failed, "cannot write the key file " + file.string(), failure);
}

}  // namespace quench::coordinator
