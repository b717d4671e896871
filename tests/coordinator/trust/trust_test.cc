// Keys, envelopes and statements: made here, checked by `openssl` and by us; every way of being wrong is told apart.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "coordinator/trust/base64.h"
#include "coordinator/trust/envelope.h"
#include "coordinator/trust/statement.h"
#include "tests/coordinator/store/store_fixture.h"

namespace quench::coordinator {
namespace {

using ::testing::HasSubstr;

Manifest small_manifest() {
  Manifest manifest;
  manifest.source = sha256("model");
  manifest.recipe.method = Method::gptq;
  manifest.recipe.bits = 4;
  return manifest;
}

class TrustTest : public ::testing::Test {
 protected:
  std::filesystem::path path(const std::string& name) const { return directory_.path() / name; }
  void write(const std::string& name, const std::string& text) const { std::ofstream(path(name)) << text; }
  std::string read(const std::string& name) const {
    std::ifstream in(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  int shell(const std::string& command) const {
    return std::system(("cd " + directory_.path().string() + " && (" + command + ") >out 2>&1").c_str());
  }
  TemporaryDirectory directory_{fast_directory()};
};

TEST(Base64, IsTheStandardOneAndHasOneTextForAValue) {
  EXPECT_EQ(to_base64("light w"), "bGlnaHQgdw==");
  for (std::size_t length = 0; length < 70; ++length) {
    const Bytes bytes = seeded_bytes(length, length);
    EXPECT_EQ(from_base64(to_base64(as_text(bytes))), as_text(bytes));
  }
  for (const char* bad : {"bGlnaHQgdw=", "bGlnaHQgdx==", "bGln aHQgdw==", "bGlnaHQgdw==\n", "bGlnaHQ*dw==", "===="})
    EXPECT_EQ(error_of([&] { from_base64(bad); }).code(), ErrorCode::corrupt) << bad;
}

TEST_F(TrustTest, OpensslReadsOurKeysAndChecksOurSignatures) {
  const SigningKey key = SigningKey::generate();
  key.write(path("key.pem"));
  struct stat status;
  ASSERT_EQ(stat(path("key.pem").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
  write("key.pub", key.public_key().pem());
  const std::string message = signed_bytes(kStatementType, statement_about("m", sha256("x"), small_manifest()));
  write("message", message);
  write("signature", key.sign(message));
  if (shell("command -v openssl") != 0) GTEST_SKIP() << "no openssl command here";
  EXPECT_EQ(shell("openssl pkeyutl -verify -pubin -inkey key.pub -rawin -in message -sigfile signature"), 0) << read("out");
  write("message", message + "x");
  EXPECT_NE(shell("openssl pkeyutl -verify -pubin -inkey key.pub -rawin -in message -sigfile signature"), 0);
  ASSERT_EQ(shell("openssl pkey -pubin -in key.pub -outform DER -out key.der"), 0) << read("out");
  EXPECT_EQ(sha256_file(path("key.der")).hex(), key.public_key().id());
}

TEST_F(TrustTest, KeysOfOpensslAreReadAndOtherKindsAreNamed) {
  if (shell("command -v openssl") != 0) GTEST_SKIP() << "no openssl command here";
  ASSERT_EQ(shell("umask 077; openssl genpkey -algorithm ed25519 -out ours.pem && openssl pkey -in ours.pem -pubout -out ours.pub"), 0);
  const SigningKey key = SigningKey::read(path("ours.pem"));
  EXPECT_EQ(PublicKey::from_pem(read("ours.pub"), "ours.pub"), key.public_key());
  ASSERT_EQ(shell("umask 077; openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem && openssl pkey -in rsa.pem -pubout -out rsa.pub"), 0);
  EXPECT_THAT(error_of([&] { SigningKey::read(path("rsa.pem")); }).what(), HasSubstr("kind RSA; expected Ed25519"));
  EXPECT_THAT(error_of([&] { PublicKey::from_pem(read("rsa.pub"), "rsa.pub"); }).what(), HasSubstr("kind RSA"));
  EXPECT_THAT(error_of([&] { PublicKey::from_pem(read("ours.pem"), "ours.pem"); }).what(), HasSubstr("is a private key"));
  ASSERT_EQ(shell("chmod 644 ours.pub"), 0);
  EXPECT_THAT(error_of([&] { SigningKey::read(path("ours.pub")); }).what(), HasSubstr("may be read by others"));
  ASSERT_EQ(shell("chmod 600 ours.pub"), 0);
  EXPECT_THAT(error_of([&] { SigningKey::read(path("ours.pub")); }).what(), HasSubstr("is no private key"));
  ASSERT_EQ(shell("umask 077; openssl genpkey -algorithm ed25519 -aes256 -pass pass:secret -out locked.pem"), 0) << read("out");
  EXPECT_THAT(error_of([&] { SigningKey::read(path("locked.pem")); }).what(), HasSubstr("without a passphrase"));
  EXPECT_EQ(error_of([&] { key.write(path("ours.pem")); }).code(), ErrorCode::bad_input) << "no key is overwritten";
}

TEST_F(TrustTest, EveryStandingIsToldApart) {
  const SigningKey lab = SigningKey::generate(), stranger = SigningKey::generate();
  const std::vector<TrustedKey> keys = {{"lab", lab.public_key()}};
  const Digest digest = sha256("artifact"), other = sha256("another");
  const std::string good = sign_payload(statement_about("org/m:v1", digest, small_manifest()), lab);
  const std::string foreign = sign_payload(statement_about("org/m:v1", digest, small_manifest()), stranger);
  const std::string about_other = sign_payload(statement_about("org/m:v1", other, small_manifest()), lab);
  const auto standing = [&](std::vector<std::string> envelopes) { return judge_signatures(digest, envelopes, keys).standing; };
  EXPECT_EQ(standing({}), Standing::not_signed);
  EXPECT_EQ(standing({good}), Standing::trusted);
  EXPECT_EQ(standing({foreign}), Standing::unknown_key);
  EXPECT_EQ(standing({foreign, good}), Standing::trusted);
  EXPECT_EQ(standing({good, foreign}), Standing::trusted);
  EXPECT_EQ(standing({about_other}), Standing::bad_signature) << "a signature cannot be moved to another artifact";
  EXPECT_EQ(standing({good, about_other}), Standing::bad_signature);
  EXPECT_EQ(judge_signatures(digest, std::vector{good}, {}).standing, Standing::unknown_key);
  EXPECT_EQ(judge_signatures(digest, std::vector{good}, keys).reason, "lab");
  // A stranger who names the lab's key in the hint.
  nlohmann::json posing = nlohmann::json::parse(foreign);
  posing["signatures"][0]["keyid"] = lab.public_key().id();
  EXPECT_EQ(standing({posing.dump()}), Standing::bad_signature);
  // Without a hint a good signature still counts.
  nlohmann::json silent = nlohmann::json::parse(good);
  silent["signatures"][0].erase("keyid");
  EXPECT_EQ(standing({silent.dump()}), Standing::trusted);
}

TEST_F(TrustTest, NoByteOfAnEnvelopeCanChange) {
  const SigningKey lab = SigningKey::generate();
  const std::vector<TrustedKey> keys = {{"lab", lab.public_key()}};
  const Digest digest = sha256("artifact");
  const std::string good = sign_payload(statement_about("m", digest, small_manifest()), lab);
  const std::size_t hint = good.find("keyid");
  for (std::size_t at = 0; at < good.size(); ++at) {
    // The field "keyid" is a hint: without it the signature is as good.
    if (at >= hint && at < hint + 5) continue;
    for (const char change : {1, 2, 32}) {
      std::string changed = good;
      changed[at] = static_cast<char>(changed[at] ^ change);
      EXPECT_NE(judge_signatures(digest, std::vector{changed}, keys).standing, Standing::trusted)
          << "byte " << at << ": " << changed;
    }
    EXPECT_NE(judge_signatures(digest, std::vector{good.substr(0, at)}, keys).standing, Standing::trusted) << at;
  }
}

}  // namespace
}  // namespace quench::coordinator
