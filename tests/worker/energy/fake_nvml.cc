// Answers for NVML as the environment says: QUENCH_FAKE_NVML_GPUS devices, device i with 1000 · (i + 1) mJ
// more at every reading. Device numbers listed in QUENCH_FAKE_NVML_OLD have no counter, as before Volta;
// QUENCH_FAKE_NVML_BROKEN makes the library refuse to start.
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int kSuccess = 0, kUninitialized = 1, kNotSupported = 3, kDriverNotLoaded = 9;

struct FakeDevice {
  int number = 0;
  unsigned long long millijoules = 5'000'000;
};

FakeDevice devices[8];
bool started = false;

}  // namespace

extern "C" {

int nvmlInit_v2() {
  if (std::getenv("QUENCH_FAKE_NVML_BROKEN") != nullptr) return kDriverNotLoaded;
  started = true;
  return kSuccess;
}
int nvmlShutdown() {
  started = false;
  return kSuccess;
}
const char* nvmlErrorString(int status) {
  return status == kDriverNotLoaded ? "Driver Not Loaded"
         : status == kNotSupported  ? "Not Supported"
                                    : "Unknown Error";
}
int nvmlDeviceGetCount_v2(unsigned* count) {
  if (!started) return kUninitialized;
  const char* given = std::getenv("QUENCH_FAKE_NVML_GPUS");
  *count = given != nullptr ? static_cast<unsigned>(std::atoi(given)) : 0;
  return kSuccess;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  devices[index].number = static_cast<int>(index);
  *device = &devices[index];
  return kSuccess;
}
int nvmlDeviceGetUUID(void* device, char* uuid, unsigned length) {
  std::snprintf(uuid, length, "GPU-%d%d%d%d", static_cast<FakeDevice*>(device)->number, 0, 0, 0);
  return kSuccess;
}
int nvmlDeviceGetName(void* device, char* name, unsigned length) {
  std::snprintf(name, length, "Fake GPU %d", static_cast<FakeDevice*>(device)->number);
  return kSuccess;
}
struct FakeMemory {
  unsigned long long total, free, used;
};
int nvmlDeviceGetMemoryInfo(void* device, FakeMemory* memory) {
  const auto number = static_cast<unsigned long long>(static_cast<FakeDevice*>(device)->number);
  *memory = {80'000, 80'000 - 1000 * (number + 1), 1000 * (number + 1)};
  return kSuccess;
}
int nvmlDeviceGetPowerUsage(void* device, unsigned* milliwatts) {
  const char* old = std::getenv("QUENCH_FAKE_NVML_OLD");
  const int number = static_cast<FakeDevice*>(device)->number;
  if (old != nullptr && std::strchr(old, '0' + number) != nullptr) return kNotSupported;
  *milliwatts = 250'500;
  return kSuccess;
}
int nvmlDeviceGetTotalEnergyConsumption(void* device, unsigned long long* millijoules) {
  FakeDevice& fake = *static_cast<FakeDevice*>(device);
  const char* old = std::getenv("QUENCH_FAKE_NVML_OLD");
  if (old != nullptr && std::strchr(old, '0' + fake.number) != nullptr) return kNotSupported;
  fake.millijoules += 1000ull * static_cast<unsigned long long>(fake.number + 1);
  *millijoules = fake.millijoules;
  return kSuccess;
}

}  // extern "C"
