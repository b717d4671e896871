// A model that is served elsewhere: "http://host:8000/v1", the base of an OpenAI-compatible API. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "schemas/digest.h"

namespace quench {

struct EndpointUrl {
  bool tls = false;
  std::string host;  // lower case; an IPv6 address without its brackets
  std::uint16_t port = 0;
  std::string path;  // "/v1", without a slash at its end; empty: the root

  // One spelling for every spelling of the same place: the port is left out when it is the scheme's own.
  std::string to_string() const;
  // What goes into the Host header.
  std::string authority() const;
  bool operator==(const EndpointUrl&) const = default;
};

// Whether a job's "model" names an endpoint rather than a directory.
bool is_endpoint(std::string_view model);

// Throws Error(bad_input) naming the text and what is wrong with it: user names and passwords (a key belongs
// into the environment), queries and fragments are refused.
EndpointUrl parse_endpoint_url(std::string_view text);

// What stands for the digest of a served model's files: of the canonical URL and the model's name. It names a
// place, not content: whoever serves there may change the model behind it.
Digest endpoint_source_digest(const EndpointUrl& url, std::string_view model_name);

}  // namespace quench
