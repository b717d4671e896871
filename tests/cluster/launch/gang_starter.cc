// A coordinator for the launcher's tests, which will be killed: starts a gang of `gang_rank`, prints its
// lines and waits for its end.
#include <iostream>

#include "cluster/launch/local.h"
#include "schemas/error.h"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  using namespace quench::cluster;
  Loop loop;
  const auto launcher = make_local_launcher(loop);
  try {
    const auto gang =
        launcher->start({.program = argv[1],
                         .arguments = {argv[2]},
                         .environment = {},
                         .secret = "s",
                         .ranks = static_cast<std::uint32_t>(std::stoul(argv[3]))},
                        {.on_line = [](std::optional<std::uint32_t>,
                                       const std::string& line) { std::cout << line << std::endl; },
                         .on_exit = [](const GangExit& end) { std::cout << end.describe() << std::endl; }});
    std::cout << "mpirun " << gang->pid() << std::endl;
    loop.run();
  } catch (const quench::Error& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
