#include "coordinator/store/commit.h"

#include "coordinator/store/keys.h"
#include "schemas/error.h"

namespace quench::coordinator {

Commit& Commit::put_object(const Digest& digest, std::span<const std::uint8_t> bytes,
                           std::span<const Digest> chunks) {
  check_size("object " + digest.short_hex(), bytes.size(), kObjectBytesMax);
  if (const Digest actual = sha256(bytes); actual != digest)
    throw Error(ErrorCode::corrupt, "object " + digest.hex() + " has the bytes of " + actual.hex());
  objects_.push_back({digest, {bytes.begin(), bytes.end()}, {chunks.begin(), chunks.end()}});
  return *this;
}

Commit& Commit::set_ref(std::string_view name, const Digest& object, std::uint64_t time_ms) {
  check_name("name", name);
  if (object.is_none())
    throw Error(ErrorCode::bad_input, "name \"" + std::string(name) + "\" needs the digest of an object");
  ref_changes_.push_back({std::string(name), object, time_ms});
  return *this;
}

Commit& Commit::delete_ref(std::string_view name, std::uint64_t time_ms) {
  check_name("name", name);
  ref_changes_.push_back({std::string(name), Digest{}, time_ms});
  return *this;
}

Commit& Commit::append_journal(std::string_view job_id, std::span<const std::uint8_t> event,
                               std::span<const Digest> chunks) {
  check_name("job", job_id);
  check_size("an event of job " + std::string(job_id), event.size(), kEventBytesMax);
  events_.push_back({std::string(job_id), {event.begin(), event.end()}, {chunks.begin(), chunks.end()}});
  return *this;
}

Commit& Commit::put_result(std::string_view key, std::span<const std::uint8_t> bytes) {
  if (key.empty()) throw Error(ErrorCode::bad_input, "the key of a result is empty");
  check_size("the key of a result", key.size(), kResultKeyBytesMax);
  check_size("a result", bytes.size(), kResultBytesMax);
  results_.push_back({std::string(key), {bytes.begin(), bytes.end()}});
  return *this;
}

Commit& Commit::expect_ref(std::string_view name, const Digest& object) {
  check_name("name", name);
  expectations_.push_back({std::string(name), object});
  return *this;
}

Commit& Commit::delete_result(std::string_view key) {
  deleted_results_.emplace_back(key);
  return *this;
}

Commit& Commit::put_setting(std::string_view key, std::span<const std::uint8_t> bytes) {
  check_name("setting", key);
  check_size("the setting " + std::string(key), bytes.size(), kSettingBytesMax);
  settings_.push_back({std::string(key), {bytes.begin(), bytes.end()}});
  return *this;
}

Commit& Commit::collect_object(const Digest& object, std::uint64_t time_ms) {
  collected_.push_back({object, time_ms});
  return *this;
}

Commit& Commit::release_journal(std::string_view job_id) {
  released_.emplace_back(job_id);
  return *this;
}

Commit& Commit::forget_journal(std::string_view job_id, std::vector<Event> left) {
  forgotten_.push_back({std::string(job_id), std::move(left)});
  return *this;
}

bool Commit::empty() const {
  return objects_.empty() && ref_changes_.empty() && events_.empty() && results_.empty() && expectations_.empty() &&
         deleted_results_.empty() && settings_.empty() && collected_.empty() && released_.empty() &&
         forgotten_.empty();
}

}  // namespace quench::coordinator
