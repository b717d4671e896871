// The kernels of cpu/lanes/integer_dot.inl on scalar lanes.
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/scalar/lanes.h"

#define QUENCH_FILL_INTEGER_DOT fill_integer_dot
#include "kernels/cpu/lanes/integer_dot.inl"
