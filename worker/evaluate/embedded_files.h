// Files that are part of the binary: problem files (most of them gzip, as in data/) and the sandbox's
// Python sources. The views live as long as the process.
#pragma once

#include <string_view>

namespace quench::worker::embedded {

std::string_view human_eval();
std::string_view human_eval_plus();
std::string_view mbpp();
std::string_view mbpp_sanitized();
std::string_view mbpp_plus();
std::string_view multipl_e_humaneval_python();
std::string_view multipl_e_humaneval_java();
std::string_view multipl_e_mbpp_python();
std::string_view multipl_e_mbpp_java();
std::string_view mceval_python();
std::string_view mceval_java();
// Sources of sandbox/*.py, by the name they have inside the sandbox.
std::string_view zygote_py();
std::string_view answer_py();
std::string_view examiner_py();
std::string_view values_py();
std::string_view quick_py();
std::string_view desk_py();
// sandbox/quick_loop.c, compiled.
std::string_view quick_loop_so();
// Sources of sandbox/java/*.java, and the library that MultiPL-E's Java programs use.
std::string_view compiler_java();
std::string_view plain_program_java();
std::string_view runner_java();
std::string_view javatuples_jar();

}  // namespace quench::worker::embedded
