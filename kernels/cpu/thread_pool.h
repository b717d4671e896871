// A fixed number of threads that work on one thing at a time. Shares are static: thread t always gets the
// same part of a given count, and nothing a thread computes depends on how many there are.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

namespace quench::kernels {

class ThreadPool {
 public:
  // `threads` >= 1; the calling thread is one of them.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return size_; }

  // body(thread) for threads 0 .. size()-1, the caller being thread 0; returns when all have ended.
  template <typename Body>
  void run(const Body& body) {
    start([](const void* state, int thread) { (*static_cast<const Body*>(state))(thread); }, &body);
  }

  // body(thread, begin, end) on contiguous shares of [0, count), each at least `grain` long (but the last).
  template <typename Body>
  void for_range(std::int64_t count, std::int64_t grain, const Body& body) {
    if (count <= 0) return;
    const std::int64_t wanted = (count + grain - 1) / grain;
    const std::int64_t shares = wanted < size_ ? wanted : size_;
    if (shares <= 1) return body(0, std::int64_t{0}, count);
    run([&](int thread) {
      if (thread >= shares) return;
      const std::int64_t begin = count * thread / shares, end = count * (thread + 1) / shares;
      if (begin < end) body(thread, begin, end);
    });
  }

 private:
  using Call = void (*)(const void* state, int thread);
  void start(Call call, const void* state);
  void work(int thread);

  // Whether `value` stops being `from` within a short while.
  template <typename T>
  bool changes(const std::atomic<T>& value, T from) const {
    for (int look = 0; look < looks_; ++look) {
      if (value.load(std::memory_order_acquire) != from) return true;
      pause(look);
    }
    return false;
  }
  static void pause(int look);

  int size_;
  int looks_;
  Call call_ = nullptr;
  const void* state_ = nullptr;
  std::atomic<std::uint32_t> generation_{0};  // a new value: there is work (or the end)
  std::atomic<std::int32_t> running_{0};
  std::atomic<bool> ending_{false};
  std::vector<std::thread> threads_;
};

// body(0) … body(count - 1), each by whichever thread is free; an exception of one is thrown when all have ended.
template <typename Body>
void run_in_turn(ThreadPool& pool, std::int64_t count, const Body& body) {
  std::atomic<std::int64_t> next{0};
  std::exception_ptr failed;
  std::atomic_flag fails = ATOMIC_FLAG_INIT;
  const auto work = [&](int) {
    try {
      for (std::int64_t i = next++; i < count; i = next++) body(i);
    } catch (...) {
      next = count;
      if (!fails.test_and_set()) failed = std::current_exception();
    }
  };
  if (count > 1)
    pool.run(work);
  else
    work(0);
  if (failed) std::rethrow_exception(failed);
}

}  // namespace quench::kernels
