// Row by row operations: memory-bound, one pass each (two for rms_norm and softmax_sum, from cache).
// Sums over a row take element i into partial sum i mod 16 and join the sixteen in a fixed tree.
#include "kernels/cpu/lanes/exp.inl"

namespace quench::kernels::QUENCH_ISA {
namespace {

void rms_norm(const float* x, const float* weight, float epsilon, std::int64_t count, float* y) {
  F squares = zero();
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const F v = load(x + i);
    squares = fma(v, v, squares);
  }
  if (i < count) {
    const F v = load_n(x + i, count - i);
    squares = fma(v, v, squares);
  }
  const float mean = sum_lanes(squares) / static_cast<float>(count);
  const F factor = set1(1.0f / __builtin_sqrtf(mean + epsilon));
  for (i = 0; i + 16 <= count; i += 16) store(y + i, mul(mul(load(x + i), factor), load(weight + i)));
  if (i < count) {
    const std::int64_t n = count - i;
    store_n(y + i, mul(mul(load_n(x + i, n), factor), load_n(weight + i, n)), n);
  }
}

// y = (x - mean) / sqrt(mean of squares of that + epsilon) * weight + bias.
void layer_norm(const float* x, const float* weight, const float* bias, float epsilon, std::int64_t count, float* y) {
  F total = zero();
  for (std::int64_t i = 0; i < count; i += 16) total = add(total, load_n(x + i, count - i < 16 ? count - i : 16));
  const F mean = set1(sum_lanes(total) / static_cast<float>(count));
  F squares = zero();
  for (std::int64_t i = 0; i < count; i += 16) {
    const std::int64_t n = count - i < 16 ? count - i : 16;
    const F v = keep_n(sub(load_n(x + i, n), mean), n);
    squares = fma(v, v, squares);
  }
  const F factor = set1(1.0f / __builtin_sqrtf(sum_lanes(squares) / static_cast<float>(count) + epsilon));
  for (std::int64_t i = 0; i < count; i += 16) {
    const std::int64_t n = count - i < 16 ? count - i : 16;
    store_n(y + i, fma(mul(sub(load_n(x + i, n), mean), factor), load_n(weight + i, n), load_n(bias + i, n)), n);
  }
}

void rope(float* x, std::int64_t heads, std::int64_t head_dim, const float* cosines, const float* sines) {
  const std::int64_t half = head_dim / 2;
  for (std::int64_t head = 0; head < heads; ++head) {
    float* first = x + head * head_dim;
    float* second = first + half;
    for (std::int64_t i = 0; i < half; i += 16) {
      const std::int64_t n = half - i < 16 ? half - i : 16;
      const F a = load_n(first + i, n), b = load_n(second + i, n);
      const F c = load_n(cosines + i, n), s = load_n(sines + i, n);
      store_n(first + i, fnma(b, s, mul(a, c)), n);
      store_n(second + i, fma(a, s, mul(b, c)), n);
    }
  }
}

QUENCH_INLINE F silu(F gate, F up) {
  const F denominator = add(set1(1.0f), exp_lanes(sub(zero(), gate)));
  return mul(div(gate, denominator), up);
}

void silu_multiply(const float* gate, const float* up, std::int64_t count, float* out) {
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) store(out + i, silu(load(gate + i), load(up + i)));
  if (i < count) {
    const std::int64_t n = count - i;
    store_n(out + i, silu(load_n(gate + i, n), load_n(up + i, n)), n);
  }
}

// x/2 (1 + tanh(u)) = x / (1 + exp(-2u)) with u = sqrt(2 / pi) (x + 0.044715 x^3).
QUENCH_INLINE F gelu_lanes(F x) {
  const F twice_u = mul(x, fma(mul(x, x), set1(0.0713548163f), set1(1.59576912f)));
  return div(x, add(set1(1.0f), exp_lanes(sub(zero(), twice_u))));
}

void gelu(const float* x, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; i += 16) {
    const std::int64_t n = count - i < 16 ? count - i : 16;
    store_n(out + i, gelu_lanes(load_n(x + i, n)), n);
  }
}

void add_rows(const float* x, std::int64_t count, float* y) {
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) store(y + i, add(load(y + i), load(x + i)));
  if (i < count) store_n(y + i, add(load_n(y + i, count - i), load_n(x + i, count - i)), count - i);
}

void convert(const void* source, ElementType type, std::int64_t count, float* out) {
  const std::uint8_t* bytes = static_cast<const std::uint8_t*>(source);
  const std::int64_t size = type == ElementType::f32 ? 4 : 2;
  for (std::int64_t i = 0; i < count; i += 16) {
    const std::int64_t n = count - i < 16 ? count - i : 16;
    // A short, possibly unaligned tail of the source is read through a copy.
    float words[16] = {};
    std::uint16_t halves[16] = {};
    F value;
    if (type == ElementType::f32) {
      __builtin_memcpy(words, bytes + i * size, static_cast<unsigned long>(n * size));
      value = load(words);
    } else {
      __builtin_memcpy(halves, bytes + i * size, static_cast<unsigned long>(n * size));
      value = type == ElementType::f16 ? load_f16(halves) : load_bf16(halves);
    }
    store_n(out + i, value, n);
  }
}

void exp_row(const float* x, std::int64_t count, float* y) {
  for (std::int64_t i = 0; i < count; i += 16) {
    const std::int64_t n = count - i < 16 ? count - i : 16;
    store_n(y + i, exp_lanes(load_n(x + i, n)), n);
  }
}

void softmax_sum(const float* x, std::int64_t count, float* max, float* sum) {
  const F least = set1(-__builtin_inff());
  F most = least;
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) most = maximum(load(x + i), most);
  float m = max_lanes(most);
  for (; i < count; ++i) m = x[i] > m ? x[i] : m;
  const F shift = set1(m);
  F total = zero();
  for (i = 0; i + 16 <= count; i += 16) total = add(total, exp_lanes(sub(load(x + i), shift)));
  if (i < count) total = add(total, keep_n(exp_lanes(sub(load_n(x + i, count - i), shift)), count - i));
  *max = m;
  *sum = sum_lanes(total);
}

void shift_row(const float* x, std::int64_t count, float max, float log_sum, float* y) {
  const F m = set1(max), l = set1(log_sum);
  for (std::int64_t i = 0; i < count; i += 16) {
    const std::int64_t n = count - i < 16 ? count - i : 16;
    store_n(y + i, sub(sub(load_n(x + i, n), m), l), n);
  }
}

std::int64_t argmax(const float* x, std::int64_t count) {
  F most = set1(-__builtin_inff());
  std::int64_t i = 0;
  for (; i + 16 <= count; i += 16) most = maximum(load(x + i), most);
  float max = max_lanes(most);
  for (; i < count; ++i) max = x[i] > max ? x[i] : max;
  for (i = 0; i < count; ++i) {
    if (x[i] == max) return i;
  }
  return 0;
}

void absolute_max(const float* x, std::int64_t stride, std::int64_t rows, std::int64_t count, float* max) {
  const I magnitude = int_set1(0x7fffffff);
  for (std::int64_t i = 0; i < count; i += 16) {
    const std::int64_t n = count - i < 16 ? count - i : 16;
    F most = load_n(max + i, n);
    for (std::int64_t row = 0; row < rows; ++row) {
      most = maximum(as_float(int_and(as_int(load_n(x + row * stride + i, n)), magnitude)), most);
    }
    store_n(max + i, most, n);
  }
}

}  // namespace

void fill_elementwise(KernelTable& table) {
  table.rms_norm = rms_norm;
  table.layer_norm = layer_norm;
  table.gelu = gelu;
  table.rope = rope;
  table.silu_multiply = silu_multiply;
  table.add = add_rows;
  table.convert = convert;
  table.exp = exp_row;
  table.softmax_sum = softmax_sum;
  table.shift = shift_row;
  table.argmax = argmax;
  table.absolute_max = absolute_max;
}

}  // namespace quench::kernels::QUENCH_ISA
