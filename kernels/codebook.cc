#include "kernels/codebook.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include "kernels/backend.h"

namespace quench::kernels {

// A GPU's backend has no kernels of its own for codebooks: they run on the host, with the CPU's bits.
Backend& Backend::host() {
  if (host_ == nullptr)
    host_ = make_cpu_backend({std::max(1, static_cast<int>(std::thread::hardware_concurrency())), ""});
  return *host_;
}
Codebooks& Backend::codebooks() { return host().codebooks(); }
Training& Backend::training() { return host().training(); }

void to_panels(ConstMatrixView from, float* panels) noexcept {
  for (std::int64_t first = 0; first < from.rows; first += 16) {
    const std::int64_t rows = from.rows - first < 16 ? from.rows - first : 16;
    float* panel = panels + first * from.cols;
    for (std::int64_t k = 0; k < from.cols; ++k)
      for (std::int64_t lane = 0; lane < 16; ++lane)
        panel[k * 16 + lane] = lane < rows ? from.row(first + lane)[k] : 0.0f;
  }
}

void narrow_codes(const std::uint16_t* codes, std::int64_t count, int bits, std::uint8_t* out) noexcept {
  for (std::int64_t i = 0; i < count; ++i, codes += 16, out += 2 * bits) {
    std::memset(out, 0, static_cast<std::size_t>(2 * bits));
    for (int row = 0; row < 16; ++row) {
      const int at = row * bits;
      std::uint32_t word = static_cast<std::uint32_t>(codes[row]) << (at % 8);
      for (int byte = at / 8; word != 0; ++byte, word >>= 8) out[byte] |= static_cast<std::uint8_t>(word);
    }
  }
}

std::uint32_t code_of(const std::uint8_t* sixteen, int bits, int row) noexcept {
  std::uint32_t code = 0;
  for (int bit = 0; bit < bits; ++bit) {
    const int at = row * bits + bit;
    code |= static_cast<std::uint32_t>(sixteen[at / 8] >> (at % 8) & 1) << bit;
  }
  return code;
}

}  // namespace quench::kernels
