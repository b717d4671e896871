#include "worker/quantize/scratch_file.h"

#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "schemas/error.h"

namespace quench::worker {

namespace fs = std::filesystem;

void write_scratch_file(const fs::path& path, std::initializer_list<std::span<const std::uint8_t>> parts,
                        const std::string& what) {
  const fs::path partial = path.string() + "." + std::to_string(::getpid());
  {
    std::ofstream out(partial, std::ios::binary | std::ios::trunc);
    for (const std::span<const std::uint8_t> part : parts)
      out.write(reinterpret_cast<const char*>(part.data()), static_cast<std::streamsize>(part.size()));
    out.flush();
    if (!out) {
      const int cause = errno;
      std::error_code ignored;
      fs::remove(partial, ignored);
      throw errno_error(ErrorCode::failed, what + " cannot be written to " + path.string(), cause);
    }
  }
  fs::rename(partial, path);
}

}  // namespace quench::worker
