// Artifacts as OCI image layouts (opencontainers/image-spec 1.1), so that a registry that a lab has can hold them: a
// directory that `skopeo copy oci:DIR:TAG docker://…` or `oras cp --from-oci-layout` takes.
//
//   oci-layout, index.json      one image manifest for each artifact: the one asked for, and its calibration set
//   image manifest              artifactType application/vnd.quench.artifact.v1
//     config                    the artifact's manifest: its blob's digest is the artifact's digest
//     layers                    its chunks one after another in the manifest's order, each once; cut between chunks
//                               where a block of the model begins, so that equal parts of two artifacts are equal
//                               blobs, and before a blob would pass the size limit
//                               run records and signatures as small layers of their own
// The same artifact always gives the same bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "coordinator/store/artifact_store.h"

namespace quench::coordinator {

// Registries commonly refuse larger blobs.
inline constexpr std::uint64_t kOciBlobBytesMax = 2ull << 30;

struct OciWritten {
  std::uint64_t blobs = 0;
  std::uint64_t bytes = 0;
};
// Writes the layout beside `to` and renames it into place. Throws Error(bad_input) when `to` exists or the artifact has no
// weights here, Error(corrupt) for a damaged chunk, Error(failed) for the disk.
OciWritten write_oci_layout(const ArtifactStore& store, const std::string& ref, const std::filesystem::path& to,
                            std::uint64_t blob_bytes_max = kOciBlobBytesMax);

struct OciImported {
  Digest digest;
  std::string name;
  std::uint64_t chunks = 0;
  std::uint64_t chunks_new = 0;
};
// Takes over everything in the layout, in one commit. `name`: of the artifact; empty: as the layout says. Each byte is
// checked against the digest that the artifact's own manifest has for it. Throws Error(corrupt) for what does not fit, and
// Error(bad_input) for what is no layout of Quench, or a name that is something else's here.
OciImported import_oci_layout(ArtifactStore& store, const std::filesystem::path& from, const std::string& name,
                              std::uint64_t now_ms);

}  // namespace quench::coordinator
