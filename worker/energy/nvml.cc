#include "worker/energy/nvml.h"

#include <dlfcn.h>

#include <sstream>

#include "schemas/error.h"

namespace quench::worker {
namespace {

// The few entries of nvml.h that are needed, as its documentation declares them; a status of 0 is success.
using Device = void*;
constexpr unsigned kUuidBytes = 96;

struct Library {
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  const char* (*error_string)(int) = nullptr;
  int (*count)(unsigned*) = nullptr;
  int (*handle)(unsigned, Device*) = nullptr;
  int (*uuid)(Device, char*, unsigned) = nullptr;
  int (*energy_mj)(Device, unsigned long long*) = nullptr;

  Library() = default;
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  ~Library() {
    if (started) shutdown();
    if (opened != nullptr) ::dlclose(opened);
  }

  void* opened = nullptr;
  bool started = false;
};

template <typename Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  return function != nullptr;
}

class NvmlCounter final : public EnergyCounter {
 public:
  // Shared by the counters of one library: the last of them closes it.
  NvmlCounter(std::shared_ptr<Library> library, Device device, const std::string& uuid)
      : library_(std::move(library)), device_(device), name_("nvml " + uuid) {
    joules();
  }

  const std::string& name() const override { return name_; }
  double joules() override {
    unsigned long long millijoules = 0;
    if (const int status = library_->energy_mj(device_, &millijoules); status != 0)
      throw Error(ErrorCode::failed, name_ + ": " + library_->error_string(status));
    return static_cast<double>(millijoules) / 1e3;
  }

 private:
  std::shared_ptr<Library> library_;
  Device device_;
  std::string name_;
};

// CUDA numbers the GPUs of a host like NVML when they are of one kind, or with CUDA_DEVICE_ORDER=PCI_BUS_ID.
bool is_visible(const std::optional<std::string>& visible, unsigned index, const std::string& uuid) {
  if (!visible) return true;
  std::istringstream entries(*visible);
  for (std::string entry; std::getline(entries, entry, ',');)
    if (entry == std::to_string(index) || (entry.starts_with("GPU-") && uuid.starts_with(entry))) return true;
  return false;
}

}  // namespace

EnergyCounters nvml_counters(const std::string& name, const std::optional<std::string>& visible) {
  EnergyCounters found;
  const auto library = std::make_shared<Library>();
  library->opened = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library->opened == nullptr) {
    found.note = "no NVML (" + name + ")";
    return found;
  }
  void* const opened = library->opened;
  if (!find(opened, "nvmlInit_v2", library->init) || !find(opened, "nvmlShutdown", library->shutdown) ||
      !find(opened, "nvmlErrorString", library->error_string) ||
      !find(opened, "nvmlDeviceGetCount_v2", library->count) ||
      !find(opened, "nvmlDeviceGetHandleByIndex_v2", library->handle) ||
      !find(opened, "nvmlDeviceGetUUID", library->uuid) ||
      !find(opened, "nvmlDeviceGetTotalEnergyConsumption", library->energy_mj)) {
    found.note = "NVML (" + name + ") is too old to count energy";
    return found;
  }
  if (const int status = library->init(); status != 0) {
    found.note = std::string("NVML: ") + library->error_string(status);
    return found;
  }
  library->started = true;
  unsigned count = 0;
  if (library->count(&count) != 0 || count == 0) found.note = "NVML sees no GPU";
  for (unsigned index = 0; index < count; ++index) {
    Device device = nullptr;
    char uuid[kUuidBytes] = {};
    int status = library->handle(index, &device);
    if (status == 0) status = library->uuid(device, uuid, kUuidBytes - 1);
    if (status == 0 && !is_visible(visible, index, uuid)) continue;
    try {
      if (status != 0)
        throw Error(ErrorCode::failed,
                    "nvml GPU " + std::to_string(index) + ": " + library->error_string(status));
      found.counters.push_back(std::make_unique<NvmlCounter>(library, device, uuid));
    } catch (const Error& unreadable) {
      found.note += (found.note.empty() ? "" : "; ") + std::string(unreadable.what());
    }
  }
  if (found.counters.empty() && found.note.empty()) found.note = "NVML: no GPU is visible to this process";
  return found;
}

}  // namespace quench::worker
