// The verb behind `quench calibration build`: makes a set and lays it down as files that the store's owner
// takes over (coordinator/calibration_sets): `manifest`, and `chunks/` by digest.
#include <cstdio>
#include <fstream>

#include "schemas/codec.h"
#include "schemas/error.h"
#include "worker/calibration/build_set.h"
#include "worker/verbs.h"

namespace quench::worker {
namespace {

namespace fs = std::filesystem;

void write_file(const fs::path& file, std::span<const std::uint8_t> bytes) {
  std::ofstream out(file, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  out.flush();
  if (!out)
    throw Error(ErrorCode::failed,
                "cannot write " + file.string() + ": make room on that disk, or name another with TMPDIR");
}

}  // namespace

int build_calibration_set(const BuildCalibrationArguments& arguments) {
  SetOptions options;
  options.kind = arguments.kind;
  options.sequences = arguments.sequences;
  options.length = arguments.length;
  options.seed = arguments.seed;
  options.files_per_repository = arguments.files_per_repository;
  options.sources = {{arguments.from.begin(), arguments.from.end()}, arguments.score_min};
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(arguments.tokenizer);
  const BuiltSet set = build_set(options, *tokenizer,
                                 [](const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); });
  const fs::path chunks = arguments.out / "chunks";
  fs::create_directories(chunks);
  const Manifest manifest =
      set_manifest(set, [&](const ChunkRef& chunk, std::span<const std::uint8_t> bytes) {
        write_file(chunks / chunk.digest.hex(), bytes);
      });
  write_file(arguments.out / "manifest", encode(manifest));
  return 0;
}

}  // namespace quench::worker
