#include "worker/evaluate/embedded_files.h"

#include <cstddef>

// The assembler copies each file as it is, whatever its size; CMake names the files as dependencies
// of this object, so an edit rebuilds it.
#define QUENCH_EMBED(name, path) QUENCH_EMBED_FILE(name, QUENCH_EVALUATE_DIR "/" path)
#define QUENCH_EMBED_FILE(name, path)                                       \
  __asm__(                                                                  \
      ".pushsection .rodata\n"                                              \
      ".balign 16\n"                                                        \
      ".global quench_embedded_" #name "_begin\n"                           \
      ".hidden quench_embedded_" #name "_begin\n"                           \
      "quench_embedded_" #name "_begin:\n"                                  \
      ".incbin \"" path "\"\n"                                              \
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

QUENCH_EMBED(human_eval, "data/HumanEval.jsonl")
QUENCH_EMBED(human_eval_plus, "data/HumanEvalPlus.jsonl.gz")
QUENCH_EMBED(mbpp, "data/Mbpp.jsonl.gz")
QUENCH_EMBED(mbpp_sanitized, "data/MbppSanitized.json.gz")
QUENCH_EMBED(mbpp_plus, "data/MbppPlus.jsonl.gz")
QUENCH_EMBED(multipl_e_humaneval_python, "data/MultiplEHumanEval.python.jsonl.gz")
QUENCH_EMBED(multipl_e_humaneval_java, "data/MultiplEHumanEval.java.jsonl.gz")
QUENCH_EMBED(multipl_e_mbpp_python, "data/MultiplEMbpp.python.jsonl.gz")
QUENCH_EMBED(multipl_e_mbpp_java, "data/MultiplEMbpp.java.jsonl.gz")
QUENCH_EMBED(mceval_python, "data/McEval.python.jsonl.gz")
QUENCH_EMBED(mceval_java, "data/McEval.java.jsonl.gz")
QUENCH_EMBED(zygote_py, "sandbox/zygote.py")
QUENCH_EMBED(answer_py, "sandbox/answer.py")
QUENCH_EMBED(examiner_py, "sandbox/examiner.py")
QUENCH_EMBED(values_py, "sandbox/values.py")
QUENCH_EMBED(quick_py, "sandbox/quick.py")
QUENCH_EMBED(desk_py, "sandbox/desk.py")
QUENCH_EMBED_FILE(quick_loop_so, QUENCH_EVALUATE_BUILT "/quick_loop.so")
QUENCH_EMBED(compiler_java, "sandbox/java/Compiler.java")
QUENCH_EMBED(plain_program_java, "sandbox/java/PlainProgram.java")
QUENCH_EMBED(runner_java, "sandbox/java/Runner.java")
QUENCH_EMBED(javatuples_jar, "data/javatuples-1.2.jar")
