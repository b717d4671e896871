// A text file, packed with gzip or not, read in pieces: corpora are larger than memory. Reads hostile bytes;
// one thread at a time.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace quench::worker {

class TextReader {
 public:
  // Throws Error(bad_input) when the file cannot be opened.
  explicit TextReader(std::filesystem::path path);
  ~TextReader();
  TextReader(const TextReader&) = delete;
  TextReader& operator=(const TextReader&) = delete;

  const std::filesystem::path& path() const { return path_; }
  // The next bytes, as many as fit; 0 at the end. Throws Error(bad_input) for a file that cannot be read on,
  // among them a gzip file that is cut or damaged.
  std::size_t read(std::span<char> out);
  // The next line without its end; false at the end. Throws Error(bad_input) for one above 64 MiB.
  bool next_line(std::string& line);
  // Of the line that next_line gave last, from 1.
  std::size_t line_number() const { return line_number_; }

 private:
  struct Handle;
  std::filesystem::path path_;
  std::unique_ptr<Handle> handle_;
  std::string block_;
  std::size_t block_at_ = 0;
  std::size_t line_number_ = 0;
};

// The whole of a small file. Throws Error(bad_input) when it cannot be read; false when it is above
// `bytes_max`.
bool read_whole(const std::filesystem::path& path, std::size_t bytes_max, std::string& text);

}  // namespace quench::worker
