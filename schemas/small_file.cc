#include "schemas/small_file.h"

#include <cerrno>
#include <fstream>

#include "schemas/error.h"

namespace quench {

std::string read_small_file(const std::filesystem::path& file, std::size_t bytes_max) {
  std::error_code status_error;
  const auto status = std::filesystem::status(file, status_error);
  if (!std::filesystem::exists(status)) throw Error(ErrorCode::bad_input, file.string() + ": no such file");
  if (!std::filesystem::is_regular_file(status))
    throw Error(ErrorCode::bad_input, file.string() + ": not a regular file");
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  if (!in) throw errno_error(ErrorCode::bad_input, file.string() + ": cannot open", errno);
  // One byte more than allowed is asked for, so that a file growing meanwhile is noticed as well.
  std::string text(bytes_max + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad()) throw errno_error(ErrorCode::bad_input, file.string() + ": cannot read", errno);
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > bytes_max)
    throw Error(ErrorCode::bad_input, file.string() + ": larger than " + std::to_string(bytes_max) +
                                          " bytes, which no file of this kind needs");
  return text;
}

}  // namespace quench
