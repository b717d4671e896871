// packed_probe STORE REF IDS.txt GREEDY OUT.safetensors: what probe.h says, of the packed artifact REF of a store. For the
// exports' peer tests: nothing is exported or dequantized on the way.
#include "coordinator/store/artifact_store.h"
#include "schemas/codec.h"
#include "tests/support/probe.h"

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: packed_probe STORE REF IDS.txt GREEDY OUT.safetensors\n");
    return 2;
  }
  return quench::testing::probe_status([&] {
    using namespace quench;
    const auto store = coordinator::ArtifactStore::open(argv[1], coordinator::OpenMode::existing);
    const Manifest manifest = decode_manifest(store.get_object(store.resolve(argv[2])).bytes);
    const auto source = worker::open_artifact(manifest, [&](const ChunkRef& chunk) { return store.get_chunk(chunk.digest); });
    testing::probe(*source, argv[3], std::stoul(argv[4]), argv[5]);
  });
}
