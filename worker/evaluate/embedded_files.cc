#include "worker/evaluate/embedded_files.h"

#include <cstddef>

// The assembler copies each file as it is, whatever its size; CMake names the files as dependencies
// of this object, so an edit rebuilds it.
#define QUENCH_EMBED(name, path)                                            \
  __asm__(                                                                  \
      ".pushsection .rodata\n"                                              \
      ".balign 16\n"                                                        \
      ".global quench_embedded_" #name "_begin\n"                           \
      ".hidden quench_embedded_" #name "_begin\n"                           \
      "quench_embedded_" #name "_begin:\n"                                  \
      ".incbin \"" QUENCH_EVALUATE_DIR "/" path "\"\n"                      \
      ".global quench_embedded_" #name "_end\n"                             \
      ".hidden quench_embedded_" #name "_end\n"                             \
      "quench_embedded_" #name "_end:\n"                                    \
      ".byte 0\n"                                                           \
      ".popsection\n");                                                     \
  extern "C" __attribute__((visibility("hidden"))) const char quench_embedded_##name##_begin[]; \
  extern "C" __attribute__((visibility("hidden"))) const char quench_embedded_##name##_end[];   \
  namespace quench::worker::embedded {                                      \
  std::string_view name() {                                                 \
    return {quench_embedded_##name##_begin,                                 \
            static_cast<std::size_t>(quench_embedded_##name##_end - quench_embedded_##name##_begin)}; \
  }                                                                         \
  }

QUENCH_EMBED(human_eval_jsonl, "data/HumanEval.jsonl")
QUENCH_EMBED(zygote_py, "sandbox/zygote.py")
QUENCH_EMBED(answer_py, "sandbox/answer.py")
QUENCH_EMBED(examiner_py, "sandbox/examiner.py")
QUENCH_EMBED(values_py, "sandbox/values.py")
