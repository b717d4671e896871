// The store's few direct dealings with the file system. Errors carry the path.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace quench::coordinator {

// One open file descriptor; closed on destruction, never inherited by child processes.
class File {
 public:
  // `flags` and `permissions` as for open(2). Throws Error(failed).
  File(const std::filesystem::path& path, int flags, unsigned permissions = 0644);
  ~File();
  File(File&& other) noexcept;
  File& operator=(File&&) = delete;

  int descriptor() const { return descriptor_; }
  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size_bytes() const;
  // At most `bytes` bytes from `offset`; fewer at the end of the file. Throws Error(failed).
  std::string read_at(std::uint64_t offset, std::size_t bytes) const;
  // All of `data`. Throws Error(failed), with disk_full_text when the disk is full.
  void write_at(std::uint64_t offset, std::string_view data);
  // Until data and size are on the disk.
  void sync();

 private:
  std::filesystem::path path_;
  int descriptor_;
};

// Syncs the entries of a directory, so that a file created in it survives a power failure.
void sync_directory(const std::filesystem::path& directory);
// "the disk of DIR (/dev/sda1 on /data) is full: 0 of 105 MB are free; free some space …"
std::string disk_full_text(const std::filesystem::path& path);
// Whether an errno says so: of the disk, or of a user's quota of it.
bool is_full(int errno_value);
// Writes, syncs and removes a file of `bytes` bytes in `directory`. Throws Error(failed).
void probe_writable(const std::filesystem::path& directory, std::size_t bytes);

}  // namespace quench::coordinator
