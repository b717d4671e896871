// Continuous batching: the same completion whatever the batch, and each way a completion ends.
#include "worker/generate/batch_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "schemas/error.h"
#include "tests/worker/model/model_fixtures.h"

namespace quench::worker {
namespace {

using testing::HasSubstr;

// A byte per token keeps what is tested in sight: token t is the letter 'a' + t mod 26.
std::string letter(std::int32_t token) { return std::string(1, static_cast<char>('a' + token % 26)); }

std::string letters(const std::vector<std::int32_t>& tokens) {
  std::string text;
  for (const std::int32_t token : tokens) text += letter(token);
  return text;
}

class BatchDecoderTest : public testing::Test {
 protected:
  BatchDecoderTest()
      : backend_(test::backend_of("", 2)),
        source_(open_model_directory(test::fixture("odd_llama"))),
        transformer_(*backend_, *source_, 128),
        reference_(test::read_reference(test::fixture("odd_llama") / "reference.safetensors")) {}

  GenerationRequest greedy_request(std::uint32_t max_new_tokens) const {
    return {.prompt = reference_.input_ids, .max_new_tokens = max_new_tokens};
  }
  Completion alone(const GenerationRequest& request) {
    BatchDecoder decoder(transformer_, letter, {.sequences_max = 1, .rows_max = 512});
    decoder.add(request);
    return decoder.run().at(0);
  }
  std::string add_error(GenerationRequest request) {
    BatchDecoder decoder(transformer_, letter);
    try {
      decoder.add(std::move(request));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_input);
      return error.what();
    }
    return "no error";
  }

  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<WeightSource> source_;
  Transformer transformer_;
  test::Reference reference_;
};

TEST_F(BatchDecoderTest, GreedyIsTheReference) {
  const Completion completion = alone(greedy_request(60));
  const std::vector<std::int32_t> expected(reference_.greedy_ids.begin(), reference_.greedy_ids.begin() + 60);
  EXPECT_EQ(completion.tokens, expected);
  EXPECT_EQ(completion.text, letters(expected));
  EXPECT_EQ(completion.reason, FinishReason::length);
}

TEST_F(BatchDecoderTest, CompletionsDoNotDependOnTheBatch) {
  std::vector<GenerationRequest> requests;
  for (std::uint32_t i = 0; i < 23; ++i) {
    GenerationRequest request;
    request.id = 100 + i;
    const std::size_t begin = i % 7, count = 1 + (i * 5) % 40;
    request.prompt.assign(reference_.input_ids.begin() + static_cast<std::ptrdiff_t>(begin),
                          reference_.input_ids.begin() + static_cast<std::ptrdiff_t>(begin + count));
    request.max_new_tokens = 1 + (i * 11) % 30;
    request.sampling = {
        .temperature = i % 3 == 0 ? 0.0 : 0.8, .top_k = i % 2 * 40, .top_p = i % 4 == 1 ? 0.9 : 1.0};
    request.key = {.seed = 9, .task = i, .sample = i % 2};
    if (i % 5 == 2) request.stop_strings = {"qx", "e"};
    requests.push_back(request);
  }
  std::map<std::uint64_t, Completion> expected;
  for (const GenerationRequest& request : requests) expected[request.id] = alone(request);

  for (const BatchLimits limits :
       {BatchLimits{2, 2}, BatchLimits{5, 16}, BatchLimits{32, 512}, BatchLimits{7, 9}}) {
    BatchDecoder decoder(transformer_, letter, limits);
    // In another order, and some only when others are under way.
    for (std::size_t i = requests.size(); i-- > 10;) decoder.add(requests[i]);
    std::vector<Completion> all;
    for (int i = 0; i < 4; ++i)
      for (Completion& completion : decoder.step()) all.push_back(std::move(completion));
    for (std::size_t i = 0; i < 10; ++i) decoder.add(requests[i]);
    for (Completion& completion : decoder.run()) all.push_back(std::move(completion));
    ASSERT_EQ(all.size(), requests.size());
    for (const Completion& completion : all) {
      const Completion& same = expected.at(completion.id);
      EXPECT_EQ(completion.tokens, same.tokens) << completion.id;
      EXPECT_EQ(completion.text, same.text) << completion.id;
      EXPECT_EQ(completion.reason, same.reason) << completion.id;
    }
  }
}

TEST_F(BatchDecoderTest, SamplesDifferByTheirKeyAlone) {
  GenerationRequest request = greedy_request(20);
  request.sampling.temperature = 1.0;
  request.key = {.seed = 1, .task = 2, .sample = 3};
  const Completion first = alone(request);
  EXPECT_EQ(alone(request).tokens, first.tokens);
  request.key.sample = 4;
  EXPECT_NE(alone(request).tokens, first.tokens);
}

TEST_F(BatchDecoderTest, EndsAtAStopStringAcrossTokens) {
  const std::string text = letters(reference_.greedy_ids);
  GenerationRequest request = greedy_request(60);
  request.stop_strings = {"never", text.substr(20, 4)};
  const Completion completion = alone(request);
  EXPECT_EQ(completion.reason, FinishReason::stop_string);
  EXPECT_EQ(completion.text, text.substr(0, text.find(text.substr(20, 4))));
  EXPECT_EQ(completion.tokens.size(), completion.text.size() + 4);
}

// One token may bring several bytes, and complete two stop strings at once: the earliest counts.
TEST_F(BatchDecoderTest, CutsAtTheEarliestOfSeveralStopStrings) {
  GenerationRequest request = greedy_request(60);
  request.stop_strings = {"#y", "x#y"};
  int calls = 0;
  BatchDecoder decoder(transformer_, [&](std::int32_t) { return ++calls == 3 ? "abx#yz" : "-"; });
  decoder.add(request);
  const Completion completion = decoder.run().at(0);
  EXPECT_EQ(completion.text, "--ab");
  EXPECT_EQ(completion.tokens.size(), 3u);
}

TEST_F(BatchDecoderTest, EndsWhenTheRequestFindsItsTextComplete) {
  const std::string text = alone(greedy_request(60)).text;
  GenerationRequest request = greedy_request(60);
  std::size_t asked = 0;
  request.is_complete = [&](std::string_view so_far) {
    EXPECT_EQ(so_far, text.substr(0, ++asked));
    return so_far.size() == 24;
  };
  const Completion completion = alone(request);
  EXPECT_EQ(completion.reason, FinishReason::complete);
  EXPECT_EQ(completion.text, text.substr(0, 24));
  EXPECT_EQ(completion.tokens.size(), 24u);
}

TEST_F(BatchDecoderTest, EndsAtTheEndOfText) {
  GenerationRequest request = greedy_request(60);
  request.eos_ids = {9999, reference_.greedy_ids[12]};
  const Completion completion = alone(request);
  const auto first =
      std::find(reference_.greedy_ids.begin(), reference_.greedy_ids.end(), reference_.greedy_ids[12]);
  EXPECT_EQ(completion.reason, FinishReason::end_of_text);
  EXPECT_EQ(completion.tokens, std::vector<std::int32_t>(reference_.greedy_ids.begin(), first));
}

TEST_F(BatchDecoderTest, EndsWhenTheContextIsFull) {
  // 48 tokens of prompt in a context of 128: the 80 places left are fed, and one token more comes out.
  const Completion completion = alone(greedy_request(1000));
  EXPECT_EQ(completion.reason, FinishReason::context_full);
  EXPECT_EQ(completion.tokens,
            std::vector<std::int32_t>(reference_.greedy_ids.begin(), reference_.greedy_ids.begin() + 81));

  GenerationRequest too_long = greedy_request(5);
  too_long.prompt.assign(129, 3);
  const Completion empty = alone(too_long);
  EXPECT_EQ(empty.reason, FinishReason::context_full);
  EXPECT_TRUE(empty.tokens.empty());
  too_long.prompt.pop_back();
  EXPECT_EQ(alone(too_long).tokens.size(), 1u);
}

TEST_F(BatchDecoderTest, NothingAskedForIsNothingGenerated) {
  const Completion completion = alone(greedy_request(0));
  EXPECT_EQ(completion.reason, FinishReason::length);
  EXPECT_TRUE(completion.tokens.empty());
}

TEST_F(BatchDecoderTest, RefusesImpossibleRequests) {
  GenerationRequest request = greedy_request(5);
  request.id = 77;
  EXPECT_EQ(add_error(request), "no error");
  GenerationRequest bad = request;
  bad.prompt.clear();
  EXPECT_THAT(add_error(bad), testing::AllOf(HasSubstr("request 77"), HasSubstr("no tokens")));
  bad = request;
  bad.prompt.push_back(515);
  EXPECT_THAT(add_error(bad), HasSubstr("token 515"));
  bad = request;
  bad.stop_strings = {"a", ""};
  EXPECT_THAT(add_error(bad), HasSubstr("stop string"));
  bad = request;
  bad.sampling.temperature = -1;
  EXPECT_THAT(add_error(bad), HasSubstr("temperature"));
}

}  // namespace
}  // namespace quench::worker
