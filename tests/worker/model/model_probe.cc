// model_probe DIRECTORY IDS.txt GREEDY OUT.safetensors: what probe.h says, of a model directory.
#include "tests/support/probe.h"

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: model_probe DIRECTORY IDS.txt GREEDY OUT.safetensors\n");
    return 2;
  }
  return quench::testing::probe_status([&] {
    const auto source = quench::worker::open_model_directory(argv[1]);
    quench::testing::probe(*source, argv[2], std::stoul(argv[3]), argv[4]);
  });
}
