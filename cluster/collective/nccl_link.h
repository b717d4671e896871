// NCCL as far as a transport needs it: one send and one receive at a time, without waiting. nccl_link.cc is NCCL on this
// rank's GPU; tests put a fake in its place, because NCCL refuses two ranks on one GPU.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "cluster/collective/collective.h"

namespace quench::cluster {

class NcclLink {
 public:
  virtual ~NcclLink() = default;
  virtual std::uint32_t rank() const = 0;
  virtual std::uint32_t world() const = 0;
  // Most bytes of one send or receive.
  virtual std::size_t bytes_max() const = 0;
  // Begins both at once; an empty span is nothing to do. `out` may be reused when this returns, `in` is filled when
  // poll() has said true. Throws Error(failed) with the call's text and NCCL's words.
  virtual void start(std::uint32_t to, std::span<const std::uint8_t> out, std::uint32_t from,
                     std::span<std::uint8_t> in) = 0;
  // Whether what was started (or the communicator's making) is complete. Throws as start() does; never waits.
  virtual bool poll() = 0;
  // Ends the communicator at once, on this side, whatever it is doing. Nothing else may be called afterwards.
  virtual void abort() noexcept = 0;
};

// What rank 0 gives to the others so that they find each other; 128 bytes.
Bytes make_nccl_id();

// Begins to make a communicator over all ranks; poll() says when it is there. Throws Error(bad_input) in a build
// without NCCL or when the GPU is not there, Error(failed) with NCCL's words.
std::unique_ptr<NcclLink> make_nccl_link(std::span<const std::uint8_t> id, std::uint32_t rank, std::uint32_t world,
                                         int device, std::size_t bytes_max);
// Whether this build has NCCL.
bool has_nccl();

}  // namespace quench::cluster
