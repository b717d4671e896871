// The kernels of cpu/lanes/integer_dot.inl on avx512 lanes with AVX512-VNNI, which lanes.h sees by its flag.
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/avx512/lanes.h"

#define QUENCH_FILL_INTEGER_DOT fill_integer_dot_vnni
#include "kernels/cpu/lanes/integer_dot.inl"
