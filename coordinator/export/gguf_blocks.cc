#include "coordinator/export/gguf_blocks.h"

#include <cmath>
#include <numeric>

#include "coordinator/export/float_formats.h"
#include "schemas/error.h"

namespace quench::coordinator {
namespace {

constexpr std::uint32_t kBlock = 32, kSuperBlock = 256, kInSuper = kSuperBlock / kBlock;
constexpr std::uint64_t kLargestPart = 63;  // of Q4_K's small scales and minima

[[noreturn]] void refuse(const TensorRecord& tensor, GgufKind kind, const std::string& why, const std::string& instead) {
  throw Error(ErrorCode::bad_input, tensor.name + " cannot be written as " + std::string(name_of(kind)) + " exactly: " + why + ": " + instead);
}

void put_half(Bytes& bytes, std::uint16_t half) {
  bytes.push_back(static_cast<std::uint8_t>(half));
  bytes.push_back(static_cast<std::uint8_t>(half >> 8));
}

void check_codes(const TensorRecord& tensor, GgufKind kind, int zero) {
  const int lowest = kind == GgufKind::q8_0 ? -128 : -8, highest = kind == GgufKind::q8_0 ? 127 : 7;
  const int largest_code = (1 << tensor.bits) - 1;
  if (-zero < lowest || largest_code - zero > highest)
    refuse(tensor, kind, "its codes run from " + std::to_string(-zero) + " to " + std::to_string(largest_code - zero) + " around its zero",
           std::string("choose --format ") + (kind == GgufKind::q4_0 && largest_code - zero <= 127 ? "gguf-q8_0" : "gguf-f16"));
}

// A block of 32 weights under one scale.
void put_block(Bytes& bytes, GgufKind kind, std::uint16_t scale, int zero, const std::uint8_t* codes) {
  put_half(bytes, scale);
  if (kind == GgufKind::q8_0) {
    for (std::uint32_t j = 0; j < kBlock; ++j) bytes.push_back(static_cast<std::uint8_t>(int{codes[j]} - zero));
  } else {
    for (std::uint32_t j = 0; j < kBlock / 2; ++j)
      bytes.push_back(static_cast<std::uint8_t>((int{codes[j]} - zero + 8) | (int{codes[j + kBlock / 2]} - zero + 8) << 4));
  }
}

// The fp16 number that is units * 2^exponent, if there is one.
std::optional<std::uint16_t> exact_half(std::uint64_t units, int exponent) {
  const double value = std::ldexp(static_cast<double>(units), exponent);
  const std::uint16_t half = f32_to_f16(static_cast<float>(value));
  if (static_cast<double>(f16_to_f32(half)) != value) return std::nullopt;
  return half;
}

void put_super_block(Bytes& bytes, const SuperBlock& block, const std::uint8_t* codes) {
  put_half(bytes, block.scale);
  put_half(bytes, block.minimum);
  // Six bits of each scale and minimum: of the first four in bytes of their own, whose upper bits are those of the others.
  std::array<std::uint8_t, 12> parts{};
  for (std::uint32_t j = 0; j < kInSuper / 2; ++j) {
    parts[j] = static_cast<std::uint8_t>(block.scales[j] | block.scales[j + 4] >> 4 << 6);
    parts[j + 4] = static_cast<std::uint8_t>(block.minima[j] | block.minima[j + 4] >> 4 << 6);
    parts[j + 8] = static_cast<std::uint8_t>((block.scales[j + 4] & 15) | (block.minima[j + 4] & 15) << 4);
  }
  bytes.insert(bytes.end(), parts.begin(), parts.end());
  for (std::uint32_t pair = 0; pair < kInSuper / 2; ++pair, codes += 2 * kBlock)
    for (std::uint32_t j = 0; j < kBlock; ++j) bytes.push_back(static_cast<std::uint8_t>(codes[j] | codes[j + kBlock] << 4));
}

}  // namespace

std::optional<SuperBlock> exact_super_block(const std::array<std::uint16_t, kInSuper>& scales,
                                            const std::array<std::uint8_t, kInSuper>& zeros) {
  // In units of the smallest fp16 number, 2^-24, every scale is a whole number below 2^41.
  std::array<std::uint64_t, kInSuper> units;
  std::uint64_t common = 0;
  for (std::uint32_t j = 0; j < kInSuper; ++j) {
    units[j] = static_cast<std::uint64_t>(std::ldexp(static_cast<double>(f16_to_f32(scales[j])), 24));
    common = std::gcd(common, units[j]);
  }
  SuperBlock block;
  if (common == 0) return block;  // all weights are zero
  std::uint64_t least = 0;
  std::array<std::uint64_t, kInSuper> minima;
  for (std::uint32_t j = 0; j < kInSuper; ++j) {
    if (units[j] / common > kLargestPart) return std::nullopt;
    block.scales[j] = static_cast<std::uint8_t>(units[j] / common);
    minima[j] = units[j] / common * zeros[j];
    least = std::gcd(least, minima[j]);
  }
  const std::optional<std::uint16_t> scale = exact_half(common, -24);
  if (!scale) return std::nullopt;
  block.scale = *scale;
  // Any divisor of the minima that leaves an fp16 number will do.
  for (std::uint64_t part = 1; part <= least; ++part) {
    if (least % part != 0) continue;
    const std::optional<std::uint16_t> minimum = exact_half(common * part, -24);
    bool fits = minimum.has_value();
    for (std::uint32_t j = 0; j < kInSuper && fits; ++j) {
      fits = minima[j] / part <= kLargestPart;
      block.minima[j] = static_cast<std::uint8_t>(minima[j] / part);
    }
    if (!fits) continue;
    block.minimum = *minimum;
    return block;
  }
  if (least > 0) return std::nullopt;
  return block;
}

std::string_view name_of(GgufKind kind) {
  switch (kind) {
    case GgufKind::q8_0: return "Q8_0";
    case GgufKind::q4_0: return "Q4_0";
    case GgufKind::q4_k: return "Q4_K";
    case GgufKind::f16: break;
  }
  return "F16";
}

std::uint64_t block_row_bytes(const TensorRecord& tensor, GgufKind kind) {
  if (tensor.layout != TensorLayout::packed)
    refuse(tensor, kind, tensor.layout == TensorLayout::raw ? "it is not quantized" : "it is made of codebook entries", "choose --format gguf-f16");
  const std::uint32_t block = kind == GgufKind::q4_k ? kSuperBlock : kBlock;
  if (tensor.shape[1] % block != 0 || (tensor.group_size > 0 && static_cast<std::uint64_t>(tensor.group_size) % kBlock != 0))
    refuse(tensor, kind, "its " + std::to_string(tensor.shape[1]) + " inputs in groups of " + std::to_string(tensor.group_size) +
                             " are not blocks of " + std::to_string(block), "choose --format gguf-f16");
  if (kind == GgufKind::q4_k && tensor.bits > 4)
    refuse(tensor, kind, "its codes have " + std::to_string(tensor.bits) + " bits", "choose --format gguf-q8_0 or gguf-f16");
  return tensor.shape[1] / block * (kind == GgufKind::q8_0 ? 34 : kind == GgufKind::q4_0 ? 18 : 144);
}

Bytes encoded_blocks(const PackedLinear& linear, const TensorRecord& tensor, const RowTile& tile, GgufKind kind) {
  Bytes bytes;
  for (std::uint32_t row = 0; row < tile.rows; ++row) {
    const std::uint8_t* const codes = tile.codes.data() + std::size_t{row} * linear.inputs();
    const auto group = [&](std::uint32_t k) { return std::size_t{row} * linear.groups() + linear.group_of()[k]; };
    if (kind == GgufKind::q4_k) {
      for (std::uint32_t k = 0; k < linear.inputs(); k += kSuperBlock) {
        std::array<std::uint16_t, kInSuper> scales;
        std::array<std::uint8_t, kInSuper> zeros;
        for (std::uint32_t j = 0; j < kInSuper; ++j) {
          scales[j] = tile.scales[group(k + j * kBlock)];
          zeros[j] = tile.zeros[group(k + j * kBlock)];
        }
        const std::optional<SuperBlock> block = exact_super_block(scales, zeros);
        if (!block)
          refuse(tensor, kind, "the scales of row " + std::to_string(tile.first_row + row) + ", inputs " + std::to_string(k) + " to " +
                                   std::to_string(k + kSuperBlock - 1) + ", are not multiples of one by whole numbers below 64",
                 "quantize with \"groupSize\": 256 or -1, or choose --format gguf-f16");
        put_super_block(bytes, *block, codes + k);
      }
    } else {
      for (std::uint32_t k = 0; k < linear.inputs(); k += kBlock) {
        const int zero = tile.zeros[group(k)];
        check_codes(tensor, kind, zero);
        put_block(bytes, kind, tile.scales[group(k)], zero, codes + k);
      }
    }
  }
  return bytes;
}

}  // namespace quench::coordinator
