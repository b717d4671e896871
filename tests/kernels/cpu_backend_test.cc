#include <stdexcept>

#include "tests/kernels/backend_fixture.h"

namespace quench::kernels {
namespace {

TEST(CpuBackend, ScalarAlwaysRunsAndIsLast) { EXPECT_EQ(runnable_isas().back(), "scalar"); }

TEST(CpuBackend, TakesTheBestByDefaultAndTheForcedOneOtherwise) {
  EXPECT_EQ(make_cpu_backend({1, ""})->name(), runnable_isas().front());
  for (const std::string_view name : runnable_isas()) {
    const auto backend = make_cpu_backend({2, std::string(name)});
    EXPECT_EQ(backend->name(), name);
    EXPECT_EQ(backend->thread_count(), 2);
  }
}

TEST(CpuBackend, RefusesUnknownNamesAndThreadCounts) {
  try {
    make_cpu_backend({1, "avx1024"});
    FAIL() << "an unknown instruction set was accepted";
  } catch (const std::runtime_error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("avx1024"), std::string::npos) << text;
    EXPECT_NE(text.find("avx512, avx2, scalar"), std::string::npos) << text;
  }
  EXPECT_THROW(make_cpu_backend({0, ""}), std::runtime_error);
}

}  // namespace
}  // namespace quench::kernels
