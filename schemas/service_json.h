// JSON of the service's value types (service_api.h), by their Cap'n Proto schemas. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "schemas/service_api.h"

namespace quench {

// For the types that QUENCH_SERVICE_TYPES lists. One line; keys in snake_case.
template <typename T>
std::string to_json(const T& value);
// Keys as service.capnp has them. Throws Error(bad_input) listing every mistake with its JSON pointer, line and
// column: unknown and duplicate keys, wrong types, numbers out of range. `origin` names the text.
template <typename T>
T from_json(std::string_view json, const std::string& origin);

// JSON schemas by type name, for the OpenAPI document: what those functions write and take, and JobSpec.
std::string service_shapes_json();

}  // namespace quench
