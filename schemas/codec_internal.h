// Between the files of the codec; not for other rooms. Free of Cap'n Proto, so that its headers stay in
// two source files.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "schemas/job_spec.h"

namespace quench::detail {

// A job as one canonical message: the bridge between the value type and the JSON walker.
std::vector<std::uint8_t> encode_job(const JobSpec& job);
JobSpec decode_job(std::span<const std::uint8_t> bytes);

// The same for the value types of service_api.h, those that service_fields.h lists.
template <typename T>
std::vector<std::uint8_t> encode_service(const T& value);
template <typename T>
T decode_service(std::span<const std::uint8_t> bytes);

}  // namespace quench::detail
