// The kernels of cpu/lanes/brain_dot.inl on scalar lanes.
#include "kernels/cpu/kernel_table.h"
#include "kernels/cpu/scalar/lanes.h"

#define QUENCH_FILL_BRAIN_DOT fill_brain_dot
#include "kernels/cpu/lanes/brain_dot.inl"
