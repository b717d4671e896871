// Files that are part of the binary: problem files and the sandbox's Python sources. The views live as
// long as the process.
#pragma once

#include <string_view>

namespace quench::worker::embedded {

std::string_view human_eval_jsonl();
// Sources of sandbox/*.py, by the name they have inside the sandbox.
std::string_view zygote_py();
std::string_view answer_py();
std::string_view examiner_py();
std::string_view values_py();

}  // namespace quench::worker::embedded
