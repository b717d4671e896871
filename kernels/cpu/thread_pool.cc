#include "kernels/cpu/thread_pool.h"

#include <immintrin.h>
#include <sched.h>

namespace quench::kernels {
namespace {

// Work comes in bursts of pieces of a few microseconds, and waking a sleeper costs as much as one, in a virtual machine
// five times as much. So a waiter looks again before it sleeps, where every thread has a processor of its own: for some
// 10 us keeping it, then for some 150 us leaving it to whoever else wants it.
constexpr int kEagerLooks = 400;
constexpr int kLooks = kEagerLooks + 300;

}  // namespace

ThreadPool::ThreadPool(int threads)
    : size_(threads < 1 ? 1 : threads),
      looks_(static_cast<unsigned>(size_) <= std::thread::hardware_concurrency() ? kLooks : 0) {
  for (int thread = 1; thread < size_; ++thread) {
    threads_.emplace_back([this, thread] { work(thread); });
  }
}

ThreadPool::~ThreadPool() {
  ending_.store(true, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ThreadPool::pause(int look) {
  if (look < kEagerLooks)
    _mm_pause();
  else
    ::sched_yield();
}

void ThreadPool::start(Call call, const void* state) {
  if (size_ == 1) return call(state, 0);
  call_ = call;
  state_ = state;
  running_.store(size_ - 1, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  call(state, 0);
  for (std::int32_t left = running_.load(std::memory_order_acquire); left != 0;
       left = running_.load(std::memory_order_acquire)) {
    if (!changes(running_, left)) running_.wait(left, std::memory_order_acquire);
  }
}

void ThreadPool::work(int thread) {
  std::uint32_t seen = 0;
  for (;;) {
    if (!changes(generation_, seen)) generation_.wait(seen, std::memory_order_acquire);
    const std::uint32_t now = generation_.load(std::memory_order_acquire);
    if (now == seen) continue;
    seen = now;
    if (ending_.load(std::memory_order_acquire)) return;
    call_(state_, thread);
    if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) running_.notify_all();
  }
}

}  // namespace quench::kernels
