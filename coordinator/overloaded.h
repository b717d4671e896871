// One visitor made of several lambdas, for std::visit over events and messages.
#pragma once

namespace quench::coordinator {

template <typename... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};

}  // namespace quench::coordinator
