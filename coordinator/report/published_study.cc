#include "coordinator/report/study.h"

// The assembler copies the file as it is; CMake names it as a dependency of this object.
__asm__(
    ".pushsection .rodata\n"
    ".hidden quench_published_study_begin\n"
    ".global quench_published_study_begin\n"
    "quench_published_study_begin:\n"
    ".incbin \"" QUENCH_REPORT_DIR
    "/data/giagnorio-2025.json\"\n"
    ".hidden quench_published_study_end\n"
    ".global quench_published_study_end\n"
    "quench_published_study_end:\n"
    ".byte 0\n"
    ".popsection\n");
extern "C" __attribute__((visibility("hidden"))) const char quench_published_study_begin[];
extern "C" __attribute__((visibility("hidden"))) const char quench_published_study_end[];

namespace quench::coordinator {

std::string_view published_study() {
  return {quench_published_study_begin,
          static_cast<std::size_t>(quench_published_study_end - quench_published_study_begin)};
}

}  // namespace quench::coordinator
