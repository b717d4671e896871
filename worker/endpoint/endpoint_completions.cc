#include "worker/endpoint/endpoint_completions.h"

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "worker/generate/random_stream.h"

namespace quench::worker {
namespace {

constexpr char kKeyVariable[] = "QUENCH_ENDPOINT_KEY";
constexpr std::chrono::milliseconds kProgressEvery{1'000};
// Counters of philox4x32 that no token uses: their last word is 0.
constexpr std::uint32_t kSeedWord = 0x5eed;
constexpr std::uint32_t kJitterWord = 0x7177;

class EndpointCompletions final : public CompletionSource {
 public:
  EndpointCompletions(const EvaluateSpec& spec, EndpointOptions options, MakeQuery make_query)
      : spec_(spec), options_(std::move(options)), make_query_(std::move(make_query)) {}

  MadeTexts make(const std::vector<LeaseItem>& items, const std::function<void()>& on_progress) override {
    MadeTexts made;
    made.texts.resize(items.size());
    next_ = 0;
    std::size_t running = std::min<std::size_t>(std::max(1u, options_.concurrency), items.size());
    std::vector<std::thread> threads;
    for (std::size_t i = running; i > 0; --i)
      threads.emplace_back([&] {
        serve(items, made);
        const std::lock_guard lock(mutex_);
        --running;
        changed_.notify_all();
      });
    std::uint64_t seen = 0;
    {
      std::unique_lock lock(mutex_);
      while (running > 0) {
        changed_.wait_for(lock, kProgressEvery);
        if (std::exchange(seen, signs_of_life_) == signs_of_life_) continue;
        lock.unlock();
        on_progress();
        lock.lock();
      }
    }
    for (std::thread& thread : threads) thread.join();
    return made;
  }

 private:
  // One of the threads: takes items until none is left, or one failed for good.
  void serve(const std::vector<LeaseItem>& items, MadeTexts& made) {
    for (;;) {
      std::size_t index = 0;
      {
        const std::lock_guard lock(mutex_);
        if (made.failure || next_ == items.size()) return;
        index = next_++;
      }
      try {
        GeneratedText text = ask(items[index], made);
        const std::lock_guard lock(mutex_);
        made.texts[index] = std::move(text);
        ++signs_of_life_;
        changed_.notify_all();
      } catch (const Error& error) {
        fail(made, error);
      } catch (const std::exception& error) {
        fail(made, Error(ErrorCode::internal, error.what()));
      }
    }
  }

  void fail(MadeTexts& made, const Error& error) {
    const std::lock_guard lock(mutex_);
    if (!made.failure) made.failure = error;
    changed_.notify_all();
  }

  GeneratedText ask(const LeaseItem& item, const MadeTexts& made) {
    EndpointQuery query = make_query_(item);
    query.model = options_.model_name;
    query.temperature = spec_.temperature;
    query.top_p = spec_.top_p;
    query.top_k = spec_.top_k;
    query.seed = word(item, kSeedWord, 0);
    const std::string body = query_to_json(options_.api, query);
    std::vector<std::pair<std::string, std::string>> headers;
    if (!options_.api_key.empty()) headers.emplace_back("Authorization", "Bearer " + options_.api_key);
    for (std::uint32_t tries = 1;; ++tries) {
      FailedTry failed;
      try {
        HttpReply reply =
            post_json(options_.url, std::string(path_of(options_.api)), headers, body, options_.limits);
        if (reply.status >= 200 && reply.status < 300) {
          try {
            return parse_answer(options_.api, reply.body);
          } catch (const Error& error) {
            failed.error = error;
          }
        }
        failed.reply = std::move(reply);
      } catch (const Error& error) {
        failed.error = error;
      }
      const double jitter = static_cast<double>(word(item, kJitterWord, tries)) / 4294967296.0;
      const RetryDecision decision = decide_retry(options_.retries, tries, failed, jitter, std::time(nullptr));
      if (!decision.again) throw Error(decision.code, options_.url.to_string() + ": " + decision.reason);
      wait(decision.wait, made);
    }
  }

  // Ends early, with that failure, when another request has failed for good.
  void wait(std::chrono::milliseconds time, const MadeTexts& made) {
    std::unique_lock lock(mutex_);
    ++signs_of_life_;  // a server that asks for patience is at work too
    changed_.wait_for(lock, time, [&] { return made.failure.has_value(); });
    if (made.failure) throw Error(*made.failure);
  }

  std::uint32_t word(const LeaseItem& item, std::uint32_t purpose, std::uint32_t step) const {
    return philox4x32({item.task, item.sample, step, purpose},
                      {static_cast<std::uint32_t>(spec_.seed), static_cast<std::uint32_t>(spec_.seed >> 32)})[0];
  }

  EvaluateSpec spec_;
  EndpointOptions options_;
  MakeQuery make_query_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t next_ = 0;
  std::uint64_t signs_of_life_ = 0;
};

}  // namespace

std::string endpoint_key(const std::string& name) {
  const std::string variable = name.empty() ? kKeyVariable : name;
  const char* const value = std::getenv(variable.c_str());
  if (value == nullptr || *value == '\0') {
    if (name.empty()) return {};
    throw Error(ErrorCode::bad_input, "the environment variable " + name +
                                          ", which the job's \"apiKeyVariable\" names, is not set: set it to "
                                          "the endpoint's key, also where evaluation workers run");
  }
  const std::string key = value;
  if (!std::all_of(key.begin(), key.end(), [](unsigned char c) { return c > ' ' && c < 0x7f; }))
    throw Error(ErrorCode::bad_input,
                "the key in " + variable + " holds white space or a character that no HTTP header takes");
  return key;
}

std::unique_ptr<CompletionSource> make_endpoint_completions(const EvaluateSpec& spec, EndpointOptions options,
                                                            MakeQuery make_query) {
  return std::make_unique<EndpointCompletions>(spec, std::move(options), std::move(make_query));
}

}  // namespace quench::worker
