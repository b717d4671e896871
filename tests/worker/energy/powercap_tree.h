// A powercap tree as the kernel lays it out, below the test's own folder.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace quench::worker {

class PowercapTree {
 public:
  explicit PowercapTree(const std::string& name) : root_(testing::TempDir() + "powercap_" + name) {
    std::filesystem::remove_all(root_);
    std::filesystem::create_directories(root_ / "intel-rapl");
  }
  ~PowercapTree() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  PowercapTree(const PowercapTree&) = delete;
  PowercapTree& operator=(const PowercapTree&) = delete;

  const std::filesystem::path& root() const { return root_; }
  void add(const std::string& zone, const std::string& name, std::uint64_t energy_uj,
           std::uint64_t range_uj = 262'143'328'850) {
    std::filesystem::create_directories(root_ / zone);
    write(zone, "name", name + "\n");
    write(zone, "max_energy_range_uj", std::to_string(range_uj) + "\n");
    count(zone, energy_uj);
  }
  void count(const std::string& zone, std::uint64_t energy_uj) {
    write(zone, "energy_uj", std::to_string(energy_uj) + "\n");
  }
  void write(const std::string& zone, const std::string& file, const std::string& text) {
    // A reader sees the old number or the new one, as with the kernel's files.
    const std::filesystem::path path = root_ / zone / file;
    std::ofstream(path.string() + ".new") << text << std::flush;
    std::filesystem::rename(path.string() + ".new", path);
  }

 private:
  std::filesystem::path root_;
};

}  // namespace quench::worker
