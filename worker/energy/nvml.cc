#include "worker/energy/nvml.h"

#include <dlfcn.h>

#include <sstream>

#include "schemas/error.h"

namespace quench::worker {
namespace {

// The few entries of nvml.h that are needed, as its documentation declares them; a status of 0 is success.
using Device = void*;
constexpr unsigned kUuidBytes = 96;
constexpr unsigned kNameBytes = 96;
struct Memory {
  unsigned long long total, free, used;
};

struct Library {
  int (*init)() = nullptr;
  int (*shutdown)() = nullptr;
  const char* (*error_string)(int) = nullptr;
  int (*count)(unsigned*) = nullptr;
  int (*handle)(unsigned, Device*) = nullptr;
  int (*uuid)(Device, char*, unsigned) = nullptr;
  int (*energy_mj)(Device, unsigned long long*) = nullptr;
  int (*name)(Device, char*, unsigned) = nullptr;
  int (*memory)(Device, Memory*) = nullptr;
  int (*power_mw)(Device, unsigned*) = nullptr;

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

// Started, or null and in `note` why not.
std::shared_ptr<Library> start_library(const std::string& name, std::string& note) {
  const auto library = std::make_shared<Library>();
  library->opened = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library->opened == nullptr) {
    note = "no NVML (" + name + ")";
    return nullptr;
  }
  void* const opened = library->opened;
  if (!find(opened, "nvmlInit_v2", library->init) || !find(opened, "nvmlShutdown", library->shutdown) ||
      !find(opened, "nvmlErrorString", library->error_string) ||
      !find(opened, "nvmlDeviceGetCount_v2", library->count) ||
      !find(opened, "nvmlDeviceGetHandleByIndex_v2", library->handle) ||
      !find(opened, "nvmlDeviceGetUUID", library->uuid) ||
      !find(opened, "nvmlDeviceGetTotalEnergyConsumption", library->energy_mj)) {
    note = "NVML (" + name + ") is too old to count energy";
    return nullptr;
  }
  find(opened, "nvmlDeviceGetName", library->name);
  find(opened, "nvmlDeviceGetMemoryInfo", library->memory);
  find(opened, "nvmlDeviceGetPowerUsage", library->power_mw);
  if (const int status = library->init(); status != 0) {
    note = std::string("NVML: ") + library->error_string(status);
    return nullptr;
  }
  library->started = true;
  return library;
}

}  // namespace

EnergyCounters nvml_counters(const std::string& name, const std::optional<std::string>& visible) {
  EnergyCounters found;
  const std::shared_ptr<Library> library = start_library(name, found.note);
  if (library == nullptr) return found;
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

struct NvmlGpus::Devices {
  std::shared_ptr<Library> library;
  std::vector<std::pair<Device, std::string>> all;  // with its name
};

NvmlGpus::NvmlGpus(const std::string& library, const std::optional<std::string>& visible)
    : devices_(std::make_unique<Devices>()) {
  std::string note;
  devices_->library = start_library(library, note);
  if (devices_->library == nullptr) return;
  const Library& nvml = *devices_->library;
  unsigned count = 0;
  if (nvml.count(&count) != 0) return;
  for (unsigned index = 0; index < count; ++index) {
    Device device = nullptr;
    char uuid[kUuidBytes] = {};
    char name[kNameBytes] = {};
    if (nvml.handle(index, &device) != 0 || nvml.uuid(device, uuid, kUuidBytes - 1) != 0) continue;
    if (!is_visible(visible, index, uuid)) continue;
    if (nvml.name == nullptr || nvml.name(device, name, kNameBytes - 1) != 0) name[0] = '\0';
    devices_->all.emplace_back(device, *name != '\0' ? name : uuid);
  }
}
NvmlGpus::~NvmlGpus() = default;

std::vector<GpuStatus> NvmlGpus::read() {
  std::vector<GpuStatus> gpus;
  for (const auto& [device, name] : devices_->all) {
    const Library& nvml = *devices_->library;
    GpuStatus& gpu = gpus.emplace_back();
    gpu.name = name;
    Memory memory{};
    if (nvml.memory != nullptr && nvml.memory(device, &memory) == 0) {
      gpu.used_bytes = memory.used;
      gpu.total_bytes = memory.total;
    }
    unsigned milliwatts = 0;
    if (nvml.power_mw != nullptr && nvml.power_mw(device, &milliwatts) == 0) gpu.watts = milliwatts / 1e3;
  }
  return gpus;
}

}  // namespace quench::worker
