// The program that an instruct model's answer in Java makes. Asked to complete a method of `class Problem`, models answer with the
// whole class, with a class of another name, with methods alone or with the method's body; the benchmarks' tests go on
// where a base model's completion ends, inside the class. Any thread; answers are hostile.
#pragma once

#include <string>
#include <string_view>

namespace quench::worker {

// `prompt` ends with the head of the method that is asked for, opened or not; `tests` begin by closing that method or stand beside it.
// What comes back is imports, helper types, and `class Problem` up to where `tests` go on: the answer's other members (its own
// main method left out), the prompt's helpers that it does not repeat, the method last. An answer in which the method is not
// found, or longer than kFunctionCutBytesMax, is taken as its body.
std::string java_chat_program(std::string_view prompt, std::string_view tests, std::string_view code);

// Whether a code block holds more than statements.
bool defines_java(std::string_view code);

}  // namespace quench::worker
