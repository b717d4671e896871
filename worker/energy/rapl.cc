#include "worker/energy/rapl.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <optional>

#include "schemas/error.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kFileBytesMax = 128;

// The first line of a small file of sysfs. Throws Error(failed) with errno's text.
std::string read_line(const fs::path& path) {
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) throw errno_error(ErrorCode::failed, path.string(), errno);
  char buffer[kFileBytesMax] = {};
  errno = 0;
  const std::size_t count = std::fread(buffer, 1, sizeof buffer - 1, file);
  const int problem = std::ferror(file) != 0 ? errno : 0;
  std::fclose(file);
  if (problem != 0) throw errno_error(ErrorCode::failed, path.string(), problem);
  const std::string text(buffer, count);
  return text.substr(0, text.find_first_of("\r\n"));
}

std::uint64_t read_number(const fs::path& path) {
  const std::string text = read_line(path);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty())
    throw Error(ErrorCode::failed, path.string() + " holds \"" + text + "\"; expected microjoules");
  return value;
}

class RaplCounter final : public EnergyCounter {
 public:
  RaplCounter(fs::path zone, std::string name)
      : energy_(zone / "energy_uj"),
        name_(std::move(name)),
        range_uj_(read_number(zone / "max_energy_range_uj")),
        last_uj_(read_number(energy_)) {}

  const std::string& name() const override { return name_; }
  double joules() override {
    const std::uint64_t now_uj = read_number(energy_);
    counted_uj_ +=
        now_uj >= last_uj_ ? now_uj - last_uj_ : now_uj + (range_uj_ - std::min(range_uj_, last_uj_));
    last_uj_ = now_uj;
    return static_cast<double>(counted_uj_) / 1e6;
  }

 private:
  fs::path energy_;
  std::string name_;
  std::uint64_t range_uj_;
  std::uint64_t last_uj_;
  std::uint64_t counted_uj_ = 0;
};

// "package-0" for intel-rapl:0, "package-0 dram" for intel-rapl:0:2; nothing for zones that count parts of
// another or the whole platform.
std::optional<std::string> counted_name(const fs::path& zone) {
  const std::string file = zone.filename();
  const std::string own = read_line(zone / "name");
  if (std::count(file.begin(), file.end(), ':') == 1)
    return own.starts_with("package") ? std::optional(own) : std::nullopt;
  if (own != "dram") return std::nullopt;
  const fs::path parent = zone.parent_path() / file.substr(0, file.rfind(':'));
  return read_line(parent / "name") + " dram";
}

}  // namespace

EnergyCounters rapl_counters(const fs::path& powercap) {
  EnergyCounters found;
  std::vector<fs::path> zones;
  std::error_code error;
  for (fs::directory_iterator entry(powercap, error), end; !error && entry != end; entry.increment(error))
    if (entry->path().filename().string().starts_with("intel-rapl:")) zones.push_back(entry->path());
  std::sort(zones.begin(), zones.end());
  if (zones.empty()) found.note = "no RAPL zones in " + powercap.string();
  for (const fs::path& zone : zones) try {
      if (const std::optional<std::string> name = counted_name(zone))
        found.counters.push_back(std::make_unique<RaplCounter>(zone, "rapl " + *name));
    } catch (const Error& unreadable) {
      found.note += (found.note.empty() ? "RAPL: " : "; ") + std::string(unreadable.what());
    }
  return found;
}

}  // namespace quench::worker
