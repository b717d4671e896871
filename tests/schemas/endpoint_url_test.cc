#include "schemas/endpoint_url.h"

#include <gtest/gtest.h>

#include "schemas/error.h"

namespace quench {
namespace {

TEST(EndpointUrl, HasOneSpelling) {
  EXPECT_EQ(parse_endpoint_url("http://LocalHost:8000/v1/").to_string(), "http://localhost:8000/v1");
  EXPECT_EQ(parse_endpoint_url("http://host").to_string(), "http://host");
  EXPECT_EQ(parse_endpoint_url("http://host:80//").to_string(), "http://host");
  EXPECT_EQ(parse_endpoint_url("https://host:443/a/b").to_string(), "https://host/a/b");
  EXPECT_EQ(parse_endpoint_url("https://host:80").to_string(), "https://host:80");
  const EndpointUrl v6 = parse_endpoint_url("http://[::1]:8000/v1");
  EXPECT_EQ(v6.host, "::1");
  EXPECT_EQ(v6.authority(), "[::1]:8000");
  EXPECT_EQ(v6.to_string(), "http://[::1]:8000/v1");
  EXPECT_EQ(parse_endpoint_url("https://host").port, 443);
}

TEST(EndpointUrl, RefusesWhatIsNone) {
  for (const char* text : {"http://", "http:///v1", "http://host:0", "http://host:70000", "http://host:8x", "http://host:",
                           "http://[::1", "http://[::1]8000", "http://host/v1?key=1", "http://host/#a", "ftp://host",
                           "http://host/a b", "http://host\r\nX: y", "http://h\xc3\xb6st"})
    EXPECT_THROW(parse_endpoint_url(text), Error) << text;
  EXPECT_THROW(parse_endpoint_url("http://" + std::string(5000, 'a')), Error);
  try {
    parse_endpoint_url("https://user:secret@host/v1");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find("secret"), std::string::npos) << "the error repeats a password";
    EXPECT_NE(std::string(error.what()).find("QUENCH_ENDPOINT_KEY"), std::string::npos);
  }
}

TEST(EndpointUrl, NamesWhatIsServed) {
  EXPECT_TRUE(is_endpoint("http://host"));
  EXPECT_TRUE(is_endpoint("https://host"));
  EXPECT_FALSE(is_endpoint("/models/http"));
  EXPECT_FALSE(is_endpoint("httpx://host"));
  const auto digest = [](const char* url, const char* model) {
    return endpoint_source_digest(parse_endpoint_url(url), model);
  };
  EXPECT_EQ(digest("http://host:80/v1", "m"), digest("http://HOST/v1/", "m"));
  EXPECT_NE(digest("http://host/v1", "m"), digest("http://host/v1", "n"));
  EXPECT_NE(digest("http://host/v1", "m"), digest("https://host/v1", "m"));
  EXPECT_NE(digest("http://host/v1", "m"), digest("http://host/v", "1m"));
}

}  // namespace
}  // namespace quench
