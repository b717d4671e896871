// The safetensors library of PyPI reads what we write. Needs QUENCH_PEERS_PYTHON: a Python that has it.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "schemas/safetensors.h"

namespace quench {
namespace {

TEST(SafetensorsPeers, PythonReadsWhatWeWrote) {
  const char* python = std::getenv("QUENCH_PEERS_PYTHON");
  if (python == nullptr) GTEST_SKIP() << "QUENCH_PEERS_PYTHON is not set";
  const auto file =
      std::filesystem::path(testing::TempDir()) / ("peers-" + std::to_string(::getpid()) + ".safetensors");
  const float values[] = {1.5f, -2.0f, 3.0f, 0.25f, 5.0f, 6.0f};
  std::vector<std::uint8_t> bytes(sizeof values + 2);
  std::memcpy(bytes.data(), values, sizeof values);
  bytes[sizeof values] = 0x80;  // 0x3f80 is 1.0 as bf16
  bytes[sizeof values + 1] = 0x3f;
  SafetensorsWriter writer(file, {{"w", DType::f32, {2, 3}}, {"one", DType::bf16, {1}}}, {{"format", "pt"}});
  writer.append(bytes);
  writer.finish();

  const std::string script =
      "import sys\n"
      "from safetensors import safe_open\n"
      "f = safe_open(sys.argv[1], framework='pt')\n"
      "assert f.metadata() == {'format': 'pt'}, f.metadata()\n"
      "assert f.get_tensor('w').tolist() == [[1.5, -2.0, 3.0], [0.25, 5.0, 6.0]]\n"
      "assert f.get_tensor('one').float().tolist() == [1.0]\n";
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::execl(python, python, "-c", script.c_str(), file.c_str(), nullptr);
    ::_exit(127);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace quench
